"""What the attacker's triggers say of themselves."""

from tests.cluster.api import OURS


def problems(estate, count):
    """Reason and message of what hinders each of so many triggers, once something hinders all; None: not yet."""
    found = {}
    for trigger in estate.api.items(f"{OURS}/namespaces/{estate.evil}/scheduletriggers"):
        for condition in (trigger.get("status") or {}).get("conditions") or ():
            if condition["type"] in {"Stalled", "Reconciling"} and condition["status"] == "True":
                found[trigger["metadata"]["name"]] = (condition["reason"], condition["message"])
    return found if len(found) >= count else None

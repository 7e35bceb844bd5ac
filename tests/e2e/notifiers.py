"""Notifiers that use every option; no trigger has the label that they select: nothing is sent to these hosts."""

_RUN = ["Queued", "Started", "Succeeded", "Failed", "Cancelled"]
_EVENTS = [*_RUN, "Recovered", "Problem", "ProblemSolved"]
_NONE = [
    {"key": "reported", "operator": "In", "values": ["yes"]},
    {"key": "reported", "operator": "NotIn", "values": ["no"]},
    {"key": "reported", "operator": "Exists"},
    {"key": "silent", "operator": "DoesNotExist"},
]
_SELECTOR = {"matchLabels": {"reported": "yes"}, "matchExpressions": _NONE}
_FORGES = ("github", "gitlab", "gitea", "bitbucket", "bitbucket-server", "azure")


def _tls(verify):
    ca = {"secretRef": {"name": "ca", "namespace": "vault"}, "key": "ca.crt"}
    return {"noVerifySsl": not verify, "caCert": ca}


def notifiers():
    """The spec of each, by kind and name."""
    found = {}
    for kind, triggers in (
        ("Notifier", {"selector": _SELECTOR}),
        ("ClusterNotifier", {"selector": _SELECTOR, "namespaceSelector": _SELECTOR}),
    ):
        common = {
            "triggers": triggers,
            "events": _EVENTS,
            "secretRef": {"name": "hooks", "namespace": "vault", "key": "secret"},
            "targetUrl": "https://ci.example/{namespace}/{trigger}/{run}",
        }
        for forge in _FORGES:
            status = {
                "forge": forge,
                "apiUrl": f"https://{forge}.example",
                "hosts": [f"{forge}.example"],
                "context": "{namespace}/{trigger}/{source}",
            }
            spec = {"type": "commit-status", "events": _RUN, "commitStatus": status, "tlsConfig": _tls(verify=True)}
            found[kind, f"{kind.lower()}-{forge}"] = common | spec
        webhook = {"type": "webhook", "address": "https://receiver.example/hook", "tlsConfig": _tls(verify=False)}
        found[kind, f"{kind.lower()}-webhook"] = common | webhook | {"logLines": 20}
        event = {"type": "cloudevents", "address": "https://broker.example/team"}
        found[kind, f"{kind.lower()}-cloudevents"] = common | event
        found[kind, f"{kind.lower()}-chat"] = common | {"type": "chat"}
    return found

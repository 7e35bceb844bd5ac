"""How the version before typed problems reported: it kept them as lines of messages, and read them there."""

import re

_WARNING = re.compile(r"warning (\w+): ")


def previous_report(status, source, problem, *, now, generation=1):
    """The status after that version has reported a problem of a source (None: a success)."""
    before = {c["type"]: c for c in status.get("conditions") or ()}
    stalled, retried = _lines(before.get("Stalled")), _lines(before.get("Reconciling"))
    for lines in (stalled, retried):
        lines.pop(f"source {source}", None)
    if problem:
        text = " ".join(problem.message.split())[:600]
        (stalled if problem.stalled else retried)[f"source {source}"] = text
    after = {name: one for name, one in before.items() if name not in {"Ready", "Stalled", "Reconciling"}}
    warnings = [line for line in (before.get("Ready") or {}).get("message", "").split("\n") if _WARNING.match(line)]
    old_reason = (before.get("Ready") or {}).get("reason", "")

    def put(name, value, reason, message):
        old = before.get(name) or {}
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        known = {"type": name, "status": value, "reason": reason, "message": message[:8000]}
        after[name] = known | {"observedGeneration": generation, "lastTransitionTime": since or now}

    problems = stalled | retried
    if problems:
        reason = problem.reason if problem else old_reason if old_reason != "Succeeded" else "Failed"
        put("Ready", "False", reason, "\n".join([_text(problems), *warnings]))
    else:
        put("Ready", "True", "Succeeded", "\n".join(["watching", *warnings]))
    for name, lines in (("Stalled", stalled), ("Reconciling", retried)):
        if lines:
            put(name, "True", problem.reason if problem else old_reason, _text(lines))
    state = "WrongConfig" if stalled else "Idle" if status.get("state") in {"WrongConfig", None} else status["state"]
    conditions = [after[name] for name in sorted(after)]
    return status | {"conditions": conditions, "state": state, "observedGeneration": generation}


def _lines(condition):
    found = {}
    for line in (condition or {}).get("message", "").split("\n"):
        subject, colon, text = line.partition(": ")
        if colon:
            found[subject] = text
    return found


def _text(lines):
    ordered = sorted(lines, key=lambda subject: (subject.startswith("source "), subject))
    return "\n".join(f"{subject}: {lines[subject]}" for subject in ordered)[:8000]

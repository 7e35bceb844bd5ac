"""The oracle: which promises the evidence breaks, and what is still open. Pure."""

import itertools

from tests.chaos.evidence import holds_slot

_ANSWERS = {0, 200, 202, 404, 429, 503}  # 404: a replica that has just started may not know the trigger
_ENDED = {"Succeeded", "Failed", "Expired"}


def violations(evidence):
    """What must never be, at any time: sentences, each naming its trigger."""
    found = []
    for source in evidence.sources.values():
        runs = evidence.runs(source)
        found += _uniqueness(source, runs)
        found += _order(source, runs)
        found += _one_each(evidence, source, runs)
    found += _limit(evidence)
    found += _deletions(evidence)
    wrong = sorted({each.status for each in evidence.deliveries} - _ANSWERS)
    found += [f"a webhook was answered with {status}" for status in wrong]
    return found


def unrun(evidence):
    """Promised runs that are not there yet: the newest commits, and the deliveries that run one by one."""
    found = []
    for name, source in evidence.sources.items():
        runs, owed = evidence.runs(source), evidence.owed(name)
        newest = max((_index(source, commit) for _, commit, _ in runs), default=-1)
        if newest < owed:
            found.append(f"{name}: push {owed} has not run, the newest run is that of push {newest}")
        accepted = len(evidence.accepted(name))
        if source.every and len(runs) < accepted:
            found.append(f"{name}: {accepted} deliveries were accepted, {len(runs)} Jobs are there")
    return found


def unsettled(evidence):
    """Where a status does not yet say what is true: counters, the last commit and Job, conditions."""
    found = []
    for name, source in evidence.sources.items():
        status = evidence.statuses.get(name) or {}
        entry = (status.get("checkedSources") or {}).get(name) or {}
        runs = evidence.runs(source)
        last = max(runs, default=(0, None, None))
        ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
        facts = {
            "requested and handled": (entry.get("requested"), entry.get("handled")),
            "runs": (entry.get("runs") or 0, last[0]),
            "commit": (entry.get("commitHash"), last[1]),
            "last Job": ((entry.get("lastJob") or {}).get("name"), last[2]),
            "Ready": (ready.get("status"), "True"),
            "state": (status.get("state"), "Idle"),
        }
        phase = (entry.get("lastJob") or {}).get("phase")
        if evidence.expires:
            del facts["Ready"]  # a run that expired is a problem of its source until the next check
        found += [f"{name}: {what} is {is_}, not {due}" for what, (is_, due) in facts.items() if is_ != due]
        if phase not in _ENDED:
            found.append(f"{name}: the phase of the last Job is {phase}")
    return found


def silent(evidence):
    """Promised runs that are missing while the trigger says that all is well."""
    missing = unrun(evidence)
    found = []
    for name in evidence.sources:
        conditions = (evidence.statuses.get(name) or {}).get("conditions") or ()
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        found += [f"{text}, and Ready is True" for text in missing if ready and text.startswith(f"{name}:")]
    return found


def _index(source, commit):
    return source.commits.index(commit) if commit in source.commits else -1


def _uniqueness(source, runs):
    numbers, commits = [run[0] for run in runs], [run[1] for run in runs]
    found = [f"{source.name}: run {n} has {numbers.count(n)} Jobs" for n in set(numbers) if numbers.count(n) > 1]
    found += [f"{source.name}: {c} was never pushed" for c in set(commits) if c not in source.commits]
    if not source.every:
        twice = {commit for commit in commits if commits.count(commit) > 1}
        found += [f"{source.name}: push {_index(source, c)} ran {commits.count(c)} times" for c in twice]
    return found


def _order(source, runs):
    """Runs are created in the order of their numbers, and none is of an older commit than one before it."""
    found = []
    for before, after in itertools.pairwise(runs):
        if after[0] < before[0]:
            found.append(f"{source.name}: run {after[0]} was created after run {before[0]}")
        elif _index(source, after[1]) < _index(source, before[1]):
            found.append(f"{source.name}: run {after[0]} is of an older push than run {before[0]}")
    return found


def _one_each(evidence, source, runs):
    most = evidence.attempted(source.name)
    if source.every and not evidence.since and len(runs) > most:
        return [f"{source.name}: {len(runs)} Jobs, but not more than {most} deliveries were sent"]
    return []


def _limit(evidence):
    """The highest number of Jobs that held a slot at the same time; the changes are in the order of the API server."""
    holding, most = set(), 0
    for change in evidence.changes[evidence.since :]:
        keep = not change.deleted and holds_slot(change.job)
        (holding.add if keep else holding.discard)(change.name)
        most = max(most, len(holding))
    return [f"{most} Jobs ran at the same time, the limit is {evidence.limit}"] if most > evidence.limit else []


def _deletions(evidence):
    deleted = [change for change in evidence.changes[evidence.since :] if change.deleted]
    if not evidence.expires:
        return [f"the Job {change.name} was deleted" for change in deleted]
    return [
        f"the Job {change.name} was deleted, and its recorded phase is {change.recorded}"
        for change in deleted
        if change.recorded not in {"Expired", None}
    ]

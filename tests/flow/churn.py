"""What has to run when branches are created, moved and deleted at random: the history of each, compared with its runs.

Heads are never used twice. A head that stayed long enough runs exactly once, one that stayed less at most once; a
deletion that stayed long enough runs `onDelete` exactly once, with the commit that was recorded.
"""

from collections import defaultdict


class History:
    """The heads of branches over time: `changes[branch]` is a list of (at, commit or None), the first at the start."""

    def __init__(self, heads, at=0.0):
        self.changes = defaultdict(list, {name: [(at, commit)] for name, commit in heads.items()})
        self.recorded = dict(heads)

    def change(self, name, commit, at):
        """The branch has this head from now on; None: it is deleted."""
        self.changes[name].append((at, commit))

    @property
    def heads(self):
        """The branches that exist now."""
        return {name: seen[-1][1] for name, seen in self.changes.items() if seen[-1][1] is not None}

    def problems(self, runs, *, until, stays_s, deletion_s):
        """What is wrong with the runs, each (branch, number, commit, deleted); the heads of the start do not run."""
        by_branch = defaultdict(list)
        for name, number, commit, deleted in runs:
            by_branch[name].append((number, commit, deleted))
        found = [f"{name}: runs, but never existed" for name in by_branch if name not in self.changes]
        for name, seen in self.changes.items():
            spans = [
                (at, commit, ends - at) for (at, commit), (ends, _) in zip(seen, [*seen[1:], (until, "")], strict=True)
            ]
            mine = sorted(by_branch.get(name, ()))
            numbers = [number for number, _, _ in mine]
            if len(set(numbers)) != len(numbers):
                found.append(f"{name}: a number twice: {numbers}")
            found += [f"{name}: {one}" for one in _problems(self.recorded.get(name), spans, mine, stays_s, deletion_s)]
        return found


def _problems(recorded, spans, runs, stays_s, deletion_s):
    """Those of one branch."""
    order = {commit: at for at, (_, commit, _) in enumerate(spans) if commit is not None}
    known, last, done = recorded, 0, {recorded}
    for number, commit, deleted in runs:
        if commit not in order:
            yield f"run {number} has {commit}, which was no head of it"
        elif deleted and commit != known:
            yield f"run {number} of the deletion has {commit}, but {known} was recorded"
        elif not deleted and commit in done:
            yield f"{commit} ran twice"
        elif not deleted and order[commit] < last:
            yield f"run {number} goes back to {commit}"
        else:
            done.add(commit)
            known, last = (None, last) if deleted else (commit, order[commit])
    for _, commit, stayed_s in spans:
        if commit is not None and stayed_s >= stays_s and commit not in done:
            yield f"{commit} stayed {stayed_s:.0f} s and did not run"
    yield from _deletions(recorded, spans, runs, order, deletion_s)


def _deletions(recorded, spans, runs, order, deletion_s):
    """The spans without a head between two runs: one `onDelete` if one of them was long, none if there is none."""
    known, before, torn = recorded, order.get(recorded, -1), 0
    for _, commit, deleted in [*runs, (0, None, False)]:
        if deleted:
            torn += 1
            continue
        after = order.get(commit, len(spans))
        empty = [stayed_s for _, head, stayed_s in spans[before + 1 : after] if head is None]
        if torn > 1 or torn > len(empty):
            yield f"onDelete ran {torn} times after {known}, with {len(empty)} deletions"
        if not torn and known is not None and any(stayed_s >= deletion_s for stayed_s in empty):
            yield f"the deletion after {known} stayed {max(empty):.0f} s, and onDelete did not run"
        known, before, torn = commit, after, 0

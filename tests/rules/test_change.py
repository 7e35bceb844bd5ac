"""Verdicts: every way that a look can end, and the questions it needs."""

from datetime import UTC, datetime

import pytest

from git_events_runner.rules.change import Look, Verdict, answered, decide, needs_trees
from git_events_runner.rules.ledger import entry_of

A, B, TAG = "a" * 40, "b" * 40, "7" * 40
NOW = datetime(2026, 5, 6, 7, 0, 20, tzinfo=UTC)
CALLED, DUE = Look(due_at=None), Look(due_at="2026-05-06T07:00:00Z")


def known(**fields):
    whole = {"commitHash": A, "runs": 1, "requested": 1, "handled": 0} | fields
    return entry_of({"checkedSources": {"s": {k: v for k, v in whole.items() if v is not None}}}, "s")


def verdict(entry, commit, *, tag=None, on_change=True, look=CALLED, same=None):
    return decide(entry, commit, tag_object=tag, on_change_only=on_change, look=look, files_same=same, now=NOW)


@pytest.mark.parametrize(
    ("entry", "commit", "extra", "expected"),
    [
        (entry_of({}, "s"), A, {}, Verdict.FIRE_FIRST),
        (known(), A, {}, Verdict.SKIP_SAME),
        (known(), B, {}, Verdict.FIRE_CHANGED),
        (known(), B, {"same": True}, Verdict.SKIP_FILES_SAME),
        (known(), B, {"same": False}, Verdict.FIRE_CHANGED),
        (known(), A, {"on_change": False}, Verdict.FIRE_ALWAYS),
        (known(handled=1), A, {"on_change": False}, Verdict.SKIP_ANSWERED),
        (known(), A, {"on_change": False, "look": DUE}, Verdict.FIRE_ALWAYS),
        (known(answeredAt=DUE.due_at), A, {"on_change": False, "look": DUE}, Verdict.SKIP_ANSWERED),
        (known(runs=None), A, {}, Verdict.SKIP_ADOPTED),
        (known(runs=None, commitHash=TAG), B, {"tag": TAG}, Verdict.SKIP_ADOPTED),
        (known(runs=None), B, {}, Verdict.FIRE_CHANGED),
        (known(commitHash=TAG), B, {"tag": TAG}, Verdict.FIRE_CHANGED),
    ],
)
def test_the_verdict_table(entry, commit, extra, expected):
    """First, same, changed, always, answered, adopted: each case has one verdict."""
    assert verdict(entry, commit, **extra) is expected


@pytest.mark.parametrize(
    ("at", "changed", "expected"),
    [
        ("2026-05-06T07:00:10Z", None, Verdict.WAIT_ANNOUNCED),
        ("2026-05-06T06:59:40Z", None, Verdict.SKIP_SAME),
        ("2026-05-06T07:00:10Z", "2026-05-06T07:00:15Z", Verdict.SKIP_SAME),
    ],
)
def test_an_announced_commit_is_waited_for(at, changed, expected):
    """While the announced commit is neither seen nor 30 s old, "same" does not answer the request."""
    assert verdict(known(announced={"commit": B, "at": at}, changed=changed), A) is expected


def test_an_announced_commit_that_is_the_head_is_seen():
    """The head equals what was announced: nothing to wait for."""
    assert verdict(known(announced={"commit": A, "at": "2026-05-06T07:00:10Z"}), A) is Verdict.SKIP_SAME


def test_trees_are_asked_for_only_when_the_commit_moved():
    """Patterns cost nothing while nothing changes; a first run has nothing to compare with."""
    ask = {"on_change_only": True, "patterns": True}
    assert needs_trees(known(), B, None, **ask)
    assert not needs_trees(known(), A, None, **ask)
    assert not needs_trees(entry_of({}, "s"), A, None, **ask)
    assert not needs_trees(known(), B, None, on_change_only=True, patterns=False)
    assert not needs_trees(known(), B, None, on_change_only=False, patterns=True)
    assert not needs_trees(known(runs=None, commitHash=TAG), B, TAG, **ask)


def test_an_occurrence_not_newer_than_the_record_is_answered():
    """A due time is answered once, also when it is submitted again after a change of leader."""
    assert answered(known(answeredAt="2026-05-06T07:00:00Z"), DUE)
    assert answered(known(answeredAt="2026-05-06T07:00:01Z"), DUE)
    assert not answered(known(answeredAt="2026-05-06T06:59:59Z"), DUE)
    assert not answered(known(), DUE)
    assert answered(known(handled=1), CALLED)

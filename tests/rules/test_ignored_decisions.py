"""The rows of the decision table for `spec.ignore`, in the form of tests/rules/test_decision.py."""

from datetime import UTC, datetime

import pytest

from git_events_runner.resources.commits import CommitText
from git_events_runner.resources.ignore import Ignore
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.decision import NoRun, Observe, Requests, Wait
from git_events_runner.rules.ignored import Ignored
from git_events_runner.rules.ledger.mutations import Skip, entry_of
from git_events_runner.rules.waits import Hold, WaitPolicy
from tests.rules.test_decision import (
    DUE,
    EACH,
    FILES,
    NEW,
    NOW_TEXT,
    QUIET,
    RECORD,
    REQUEST,
    TIME,
    A,
    B,
    C,
    Row,
    announced,
    check_row,
    entry,
    files,
    run,
    skip,
)

IGNORE = {"ignore": Ignore(authors=("renovate*",))}
BOT = CommitText(name="Renovate Bot", email="bot@example.com", message="Update x\n")
HUMAN = CommitText(name="A U Thor", email="a@example.com", message="Fix\n")
IGNORED = Ignored(
    commit=B, reason="the author matches 'renovate*' (ignore.authors)", author="Renovate Bot", subject="Update x"
)

TABLE = {
    "a commit would run, and some are ignored: its author is needed": Row(
        entry(), REQUEST, B, Observe(part="text"), IGNORE
    ),
    "the same commit needs no author": Row(entry(), REQUEST, A, skip("skip-same"), IGNORE),
    "files that are the same need no author": Row(
        entry(),
        REQUEST,
        B,
        skip("skip-files-same", B, changed=NOW_TEXT, file_hash="d" * 64),
        IGNORE | FILES,
        files(same=True),
    ),
    "an ignored commit is recorded, and the requests are handled": Row(
        entry(requested=3),
        Requests(upto=3),
        B,
        skip("skip-ignored", B, handled=3, changed=NOW_TEXT, ignored=IGNORED),
        IGNORE,
        text=BOT,
    ),
    "also at a scheduled time, with its files": Row(
        QUIET,
        DUE,
        B,
        skip(
            "skip-ignored",
            B,
            handled=0,
            changed=NOW_TEXT,
            file_hash="d" * 64,
            answered_at=TIME,
            ignored=IGNORED,
        ),
        IGNORE | FILES,
        files(same=False),
        text=BOT,
    ),
    "also at the first check": Row(
        NEW,
        REQUEST,
        B,
        skip("skip-ignored", B, known=(0, None), changed=NOW_TEXT, ignored=IGNORED),
        IGNORE,
        text=BOT,
    ),
    "firstCheck: Record needs no author": Row(
        entry_of({}, "s"),
        DUE,
        A,
        skip("skip-first", A, handled=0, known=(0, None), changed=NOW_TEXT, answered_at=TIME),
        IGNORE | RECORD,
    ),
    "another author's commit runs": Row(
        entry(), REQUEST, B, run("fire-changed", B, request=1, text=HUMAN), IGNORE, text=HUMAN
    ),
    "a requested run is never ignored": Row(
        entry(runRequested=1), REQUEST, B, run("fire-requested", B, request=1, run_request=1), IGNORE
    ),
    "an ignored commit is recorded, and the request waits for the announced one": Row(
        announced(C),
        REQUEST,
        B,
        skip("skip-ignored", B, handled=0, changed=NOW_TEXT, again_s=8.0, ignored=IGNORED),
        IGNORE,
        text=BOT,
    ),
    "every check runs, but not of an ignored commit": Row(
        entry(commitHash=B, requested=2),
        Requests(upto=2),
        B,
        NoRun(
            result=CheckResult.SKIP_IGNORED,
            mutations=(
                Skip(
                    source="s",
                    expected=(1, B),
                    handled=2,
                    commit=B,
                    file_hash=None,
                    now=NOW_TEXT,
                    ignored=IGNORED,
                ),
            ),
            deferrable=True,
        ),
        IGNORE | EACH,
        text=BOT,
    ),
    "outside the windows nothing is read yet": Row(
        QUIET,
        DUE,
        B,
        Wait(
            result=CheckResult.WAIT_WINDOW,
            until=datetime(2026, 5, 6, 8, 0, tzinfo=UTC),
            mutations=(
                Hold(
                    source="s",
                    expected=(1, A),
                    reason="OutsideWindows",
                    commit=B,
                    since=NOW_TEXT,
                    moved=NOW_TEXT,
                    until="2026-05-06T08:00:00Z",
                ),
            ),
        ),
        IGNORE | {"waits": WaitPolicy()},
        closed_until=datetime(2026, 5, 6, 8, 0, tzinfo=UTC),
    ),
}


@pytest.mark.parametrize("situation", TABLE)
def test_each_situation_has_one_decision(situation):
    """The table above."""
    check_row(TABLE[situation])

"""The decision table of changes that wait: windows, debounce and cooldown; it continues that of test_decision.py."""

from datetime import timedelta

import pytest

from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.decision import NoRun, Wait
from git_events_runner.rules.waits import Hold, Release, WaitPolicy
from tests.rules.test_decision import (
    DUE,
    EACH,
    NEW,
    NOW,
    QUIET,
    REQUEST,
    A,
    B,
    C,
    Row,
    announced,
    check_row,
    entry,
    run,
    skip,
)


def wait(result, reason, until, *, commit=B, since="2026-05-06T07:00:20Z", moved=None):
    """The run waits until a time; what has to survive is recorded."""
    text = until if until is None else until.isoformat().replace("+00:00", "Z")
    hold = Hold(
        source="s", expected=(1, A), reason=reason, commit=commit, since=since, moved=moved or since, until=text
    )
    return Wait(result=CheckResult(result), until=until, mutations=(hold,))


def waiting(commit, since, moved=None, **fields):
    """An entry of which a change waits: its commit, and when the reference moved first and last."""
    return entry(waiting={"commit": commit, "since": since, "moved": moved or since}, **fields)


def minutes(number):
    """So long."""
    return timedelta(minutes=number)


DEBOUNCED = {"waits": WaitPolicy(quiet=minutes(1), longest=minutes(5))}
COOLING = {"waits": WaitPolicy(cooldown=minutes(10))}
ALL_WAITS = {"waits": WaitPolicy(quiet=minutes(1), longest=minutes(5), cooldown=minutes(10))}
OPENS = NOW + minutes(60)

TABLE = {
    # ------------------------------------------------------- changes that wait: windows, debounce, cooldown
    "outside its windows a change waits until they open": Row(
        entry(), REQUEST, B, wait("wait-window", "OutsideWindows", OPENS), COOLING, closed_until=OPENS
    ),
    "so does a scheduled change, and a first check": Row(
        QUIET, DUE, B, wait("wait-window", "OutsideWindows", OPENS), COOLING, closed_until=OPENS
    ),
    "the same commit is handled outside the windows": Row(
        entry(), REQUEST, A, skip("skip-same"), COOLING, closed_until=OPENS
    ),
    "a requested run starts outside the windows": Row(
        entry(handled=1, runRequested=1),
        REQUEST,
        A,
        run("fire-requested", A, request=1, run_request=1),
        COOLING,
        closed_until=OPENS,
    ),
    "the windows are open": Row(entry(), REQUEST, B, run("fire-changed", B, request=1), COOLING),
    "debounce: the reference moves now": Row(
        entry(), REQUEST, B, wait("wait-debounce", "Debounce", NOW + minutes(1)), DEBOUNCED
    ),
    "debounce: it moved half a minute ago": Row(
        waiting(B, "2026-05-06T06:59:50Z"),
        REQUEST,
        B,
        wait("wait-debounce", "Debounce", NOW + minutes(0.5), since="2026-05-06T06:59:50Z"),
        DEBOUNCED,
    ),
    "debounce: it moves again": Row(
        waiting(C, "2026-05-06T06:59:50Z"),
        REQUEST,
        B,
        wait(
            "wait-debounce",
            "Debounce",
            NOW + minutes(1),
            since="2026-05-06T06:59:50Z",
            moved="2026-05-06T07:00:20Z",
        ),
        DEBOUNCED,
    ),
    "debounce: it has not moved for a minute": Row(
        waiting(B, "2026-05-06T06:58:00Z", "2026-05-06T06:59:20Z"),
        REQUEST,
        B,
        run("fire-changed", B, request=1),
        DEBOUNCED,
    ),
    "debounce: it moves still, almost five minutes after the first time": Row(
        waiting(C, "2026-05-06T06:55:50Z"),
        REQUEST,
        B,
        wait(
            "wait-debounce",
            "Debounce",
            NOW + minutes(0.5),
            since="2026-05-06T06:55:50Z",
            moved="2026-05-06T07:00:20Z",
        ),
        DEBOUNCED,
    ),
    "debounce: after five minutes it runs": Row(
        waiting(C, "2026-05-06T06:55:20Z"), REQUEST, B, run("fire-changed", B, request=1), DEBOUNCED
    ),
    "debounce: it has moved back": Row(
        waiting(B, "2026-05-06T06:59:50Z", handled=1),
        DUE,
        A,
        NoRun(result=CheckResult.SKIP_SAME, mutations=(Release(source="s"),)),
        DEBOUNCED,
    ),
    "debounce: a commit that was announced is to come": Row(
        announced(B, waiting={"commit": C, "since": "2026-05-06T06:59:10Z", "moved": "2026-05-06T06:59:10Z"}),
        REQUEST,
        C,
        wait("wait-debounce", "Debounce", NOW + timedelta(seconds=8), commit=C, since="2026-05-06T06:59:10Z"),
        DEBOUNCED,
    ),
    "debounce: every check runs, and the reference has not moved": Row(
        entry(), REQUEST, A, run("fire-always", A, request=1), DEBOUNCED | EACH
    ),
    "debounce: the first check": Row(NEW, REQUEST, A, run("fire-first", A, request=1), DEBOUNCED),
    "cooldown: the last run started four minutes ago": Row(
        entry(),
        REQUEST,
        B,
        wait("wait-cooldown", "Cooldown", NOW + minutes(6) + timedelta(seconds=1)),
        COOLING,
        last_start=NOW - minutes(4),
    ),
    "cooldown: every check runs": Row(
        entry(),
        REQUEST,
        A,
        wait("wait-cooldown", "Cooldown", NOW + minutes(6) + timedelta(seconds=1), commit=A),
        COOLING | EACH,
        last_start=NOW - minutes(4),
    ),
    "cooldown: the last run started ten minutes ago": Row(
        entry(), REQUEST, B, run("fire-changed", B, request=1), COOLING, last_start=NOW - minutes(10.1)
    ),
    "several at once: the last time counts": Row(
        entry(),
        REQUEST,
        B,
        wait("wait-cooldown", "Cooldown", NOW + minutes(6) + timedelta(seconds=1)),
        ALL_WAITS,
        closed_until=NOW + minutes(3),
        last_start=NOW - minutes(4),
    ),
}


@pytest.mark.parametrize("situation", TABLE)
def test_each_situation_has_one_decision(situation):
    """The table above."""
    check_row(TABLE[situation])

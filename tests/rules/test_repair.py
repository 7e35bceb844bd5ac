"""Statuses that somebody edited by hand: what cannot be right is found, replaced, and stops nothing."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.status import LEDGER_MAX
from git_events_runner.rules.ledger.deliveries import delivery_hash
from git_events_runner.rules.ledger.entry import entry_of, run_number_after
from git_events_runner.rules.ledger.mutations import Count, Outcome, Settle
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.repair import Repair, in_words, wrong_values

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
AT = "2026-05-06T07:08:09Z"
A = "a" * 40


def status(**fields):
    whole = {"commitHash": A, "fileHash": None, "changed": None, "runs": 1, "requested": 3, "handled": 2} | fields
    return {"checkedSources": {"app": whole}, "deliveries": ""}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"handled": 50}, "checkedSources.app.handled is 50, above requested 3 (now 3)"),
        ({"requested": None, "handled": 7}, "checkedSources.app.handled is 7, above requested 0 (now 0)"),
        ({"runs": 2**63 - 2}, f"checkedSources.app.runs is 9223372036854775806 (now {LEDGER_MAX // 10})"),
        ({"runs": -1}, "checkedSources.app.runs is -1 (removed)"),
        ({"requested": LEDGER_MAX}, f"checkedSources.app.requested is {LEDGER_MAX} (now 0)"),
        ({"commitHash": "x" * 1000}, "checkedSources.app.commitHash is too long (removed)"),
        (
            {"answeredAt": "2027-01-01T00:00:00Z"},
            "checkedSources.app.answeredAt is 2027-01-01T00:00:00Z, which lies ahead (removed)",
        ),
        (
            {"announced": {"commit": None, "at": "2027-01-01T00:00:00Z"}},
            "checkedSources.app.announced.at is 2027-01-01T00:00:00Z, which lies ahead (removed)",
        ),
    ],
)
def test_each_value_that_cannot_be_right_is_named(fields, words):
    """With what it is, and what it is from now on."""
    assert words in [str(wrong) for wrong in wrong_values(status(**fields), NOW)]


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        {"lastRun": "Never", "state": "Idle", "checkedSources": {"app": {"commitHash": A, "fileHash": "x" * 64}}},
        status(answeredAt=AT, announced={"commit": A, "at": AT}, lastJob={"name": "j", "phase": "Running"}),
        status(requested=LEDGER_MAX - 1, handled=LEDGER_MAX - 1) | {"lastRun": AT, "lastRunNumber": 5},
        status() | {"deliveries": delivery_hash("x") * 64},
    ],
)
def test_nothing_is_wrong_with_what_we_or_the_legacy_version_write(found):
    """No warning, and no write."""
    assert wrong_values(found, NOW) == ()
    assert combine(found, [Repair(now=NOW)])[1] == [Outcome.DONE]


NUMBERS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 5), st.booleans(), st.just("7"))
TEXTS = st.one_of(st.none(), st.text(max_size=5), st.just("x" * 2000), st.just("2999-01-01T00:00:00Z"), st.just(AT))
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "runs": NUMBERS,
        "requested": NUMBERS,
        "handled": NUMBERS,
        "commitHash": TEXTS,
        "fileHash": TEXTS,
        "answeredAt": TEXTS,
        "announced": st.one_of(TEXTS, st.fixed_dictionaries({}, optional={"at": TEXTS, "commit": TEXTS})),
        "lastJob": st.one_of(TEXTS, st.fixed_dictionaries({}, optional={"name": TEXTS, "phase": TEXTS})),
    },
)
STATUSES = st.fixed_dictionaries(
    {},
    optional={
        "checkedSources": st.one_of(TEXTS, st.dictionaries(st.sampled_from(["app", "lib"]), st.one_of(TEXTS, ENTRIES))),
        "lastRun": TEXTS,
        "lastRunNumber": NUMBERS,
        "deliveries": TEXTS,
    },
)


@given(STATUSES)
def test_whatever_a_status_holds_a_delivery_is_open_and_its_run_is_recorded(found):
    """Also before it is repaired: every number that is read leaves room for the next, and nothing above is handled."""
    count = Count(requests={"app": None}, delivery=delivery_hash("new"), at=AT)
    counted, outcomes = combine(found, [count])
    assert outcomes == [Outcome.WRITE]
    entry = entry_of(counted, "app")
    assert 0 <= entry.handled < entry.requested <= LEDGER_MAX
    number = run_number_after(entry)
    assert 1 <= number <= LEDGER_MAX
    settle = Settle(
        source="app",
        number=number,
        commit="b" * 40,
        file_hash=None,
        request=entry.requested,
        answered_at=None,
        job="j",
        phase="Running",
        changed=AT,
    )
    ran, outcomes = combine(counted, [settle])
    assert outcomes == [Outcome.WRITE]
    after = entry_of(ran, "app")
    assert (after.commit, after.handled) == ("b" * 40, after.requested)


@given(STATUSES)
def test_one_repair_leaves_nothing_to_repair(found):
    """What is read afterwards is what was read before."""
    repaired, outcomes = combine(found, [Repair(now=NOW)])
    assert outcomes == [Outcome.WRITE if wrong_values(found, NOW) else Outcome.DONE]
    assert wrong_values(repaired, NOW) == ()
    assert entry_of(repaired, "app").requested == entry_of(found, "app").requested
    assert entry_of(repaired, "app").handled == entry_of(found, "app").handled
    assert entry_of(repaired, "app").runs == entry_of(found, "app").runs


def test_a_long_list_is_cut():
    """Three of them, and how many more."""
    found = wrong_values(status(handled=9, runs=-1, answeredAt="2999-01-01T00:00:00Z", fileHash="x" * 200), NOW)
    assert in_words(found).endswith("; and 1 more")

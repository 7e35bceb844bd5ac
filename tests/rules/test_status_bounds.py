"""Of a status that a tenant has written himself no more is read than the controller would ever write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.bounds import STATUS_OTHER_ENTRIES, STATUS_TEXT_CHARACTERS
from git_events_runner.resources.status import DELIVERIES_CHARS, HASH_CHARS
from git_events_runner.resources.status_bounds import bounded_status

_SPEC = {"sources": {"names": ["app", "lib"]}}
_ENTRY = {"commitHash": "c" * 40, "runs": 3, "lastJob": {"name": "job", "phase": "Running"}}
_LARGE = "x" * 10_000


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": [{"type": "Ready", "status": "True", "message": "m" * 8000}], "deliveries": "d" * 704},
        {"checkedSources": {"app": _ENTRY, "old": _ENTRY}, "state": "Idle", "lastRunNumber": 7},
        {"hostKeys": ["host ssh-rsa " + "A" * 1400]},
        {"history": [{"number": 7, "job": "j", "phase": "Failed", "exitCode": 3}] * 50},
        None,
        "odd",
    ],
)
def test_what_the_controller_writes_is_read(status):
    """A status within the bounds is the same object afterwards."""
    assert bounded_status(status, _SPEC) is status


@pytest.mark.parametrize(
    "forged",
    [
        {"conditions": [{"type": "Stalled", "status": "True", "message": "m" * 8001}]},
        {"conditions": [{"type": _LARGE}]},
        {"conditions": [{"type": f"T{number}"} for number in range(17)]},
        {"hostKeys": ["h"] * 17},
        {"hostKeys": [_LARGE]},
        {"history": [{"job": _LARGE}]},
        {"history": [{"job": ["nested"]}]},
        {"history": [{"number": 1}] * 61},
        {"history": ["text"]},
    ],
)
def test_what_is_beyond_a_bound_reads_as_absent(forged):
    """The field is left out, others stay."""
    assert bounded_status({"state": "Idle"} | forged, _SPEC) == {"state": "Idle"}


def test_entries_of_named_sources_outlive_a_flood():
    """Of 50,000 entries those that the spec names are kept, and a bounded number of others."""
    flood = {f"s{number}": {"requested": 1} for number in range(50_000)}
    found = bounded_status({"checkedSources": flood | {"app": _ENTRY}}, _SPEC)["checkedSources"]
    assert found["app"] == _ENTRY
    assert len(found) == 1 + STATUS_OTHER_ENTRIES


def test_texts_are_cut():
    """Texts that are too long are cut, to a length that is still wrong where the ledger has a bound of its own."""
    entry = {"runs": 3, "commitHash": _LARGE, "lastJob": {"name": _LARGE}}
    found = bounded_status({"lastRun": _LARGE, "deliveries": _LARGE, "checkedSources": {"app": entry}}, _SPEC)
    assert found["checkedSources"]["app"]["runs"] == 3
    assert len(found["checkedSources"]["app"]["commitHash"]) == len(found["lastRun"]) == STATUS_TEXT_CHARACTERS
    assert len(found["checkedSources"]["app"]["lastJob"]["name"]) == STATUS_TEXT_CHARACTERS
    assert DELIVERIES_CHARS < len(found["deliveries"]) < 2 * DELIVERIES_CHARS
    assert HASH_CHARS < STATUS_TEXT_CHARACTERS


_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON, _JSON)
def test_odd_statuses_are_read_without_an_error(status, spec):
    """Whatever is stored, reading bounds it, and a second time changes nothing."""
    once = bounded_status({"conditions": status, "checkedSources": status, "hostKeys": status}, spec)
    assert bounded_status(once, spec) == once

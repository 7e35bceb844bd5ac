"""What annotations request, and that each token counts once."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.status import TOKEN_CHARS
from git_events_runner.rules.annotated import (
    CHECK_ANNOTATION,
    RUN_ANNOTATION,
    SOURCES_ANNOTATION,
    RecordRequest,
    requests_of,
)
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Outcome

AT = "2026-05-06T07:00:00Z"
NAMES = ("app", "lib")


def requests(annotations, status=None, names=NAMES):
    return requests_of({"annotations": annotations}, status, names)


def test_the_names_are_those_that_people_type():
    """docs/runs.md has them."""
    assert (f"{GROUP}/requested-at", f"{GROUP}/run-requested-at") == (CHECK_ANNOTATION, RUN_ANNOTATION)
    assert f"{GROUP}/run-requested-sources" == SOURCES_ANNOTATION


@pytest.mark.parametrize(
    ("annotations", "run", "sources"),
    [
        ({CHECK_ANNOTATION: "1"}, False, NAMES),
        ({RUN_ANNOTATION: "1"}, True, NAMES),
        ({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: " lib ,lib,"}, True, ("lib",)),
        ({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: ""}, True, NAMES),
        ({CHECK_ANNOTATION: "1", SOURCES_ANNOTATION: "lib"}, False, NAMES),
    ],
)
def test_annotations_request_checks_and_runs(annotations, run, sources):
    """Of all sources, or for a run of those that are named."""
    [one] = requests(annotations)
    assert (one.run, one.sources, one.problem) == (run, sources, None)


@pytest.mark.parametrize("annotations", [{}, None, {"other": "1"}, {RUN_ANNOTATION: ""}, [1]])
def test_nothing_is_requested(annotations):
    """Without the annotations, with empty ones, and with what is no annotations at all."""
    assert requests(annotations) == ()


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({RUN_ANNOTATION: "x" * (TOKEN_CHARS + 1)}, "more than 128 characters"),
        ({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "lib,liv"}, "names 'liv', which is no source"),
        ({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: " , "}, "names no source; remove it"),
    ],
)
def test_what_cannot_be_followed_is_named(annotations, words):
    """The annotation and what is wrong with it; nothing is counted."""
    [one] = requests(annotations)
    assert words in one.problem
    assert one.sources == ()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(NAMES)), max_size=20))
def test_each_token_counts_once(requested):
    """Whatever is requested, in any order and again: a token that the status keeps changes nothing."""
    status, due = {}, dict.fromkeys(NAMES, 0)
    for run, token, source in requested:
        found = requests({RUN_ANNOTATION if run else CHECK_ANNOTATION: token, SOURCES_ANNOTATION: source}, status)
        for one in found:
            assert RecordRequest(request=one, at=AT).apply(status) is Outcome.WRITE
            assert RecordRequest(request=one, at=AT).apply(status) is Outcome.DONE
            if run:
                due[source] += 1
    assert {name: entry_of(status, name).run_requested for name in NAMES} == due
    assert all(entry_of(status, name).run_handled == 0 for name in NAMES)


def test_a_late_write_of_a_former_leader_counts_nothing():
    """It read the first token; the next leader handled that and a second one meanwhile."""
    status = {}
    [first] = requests({RUN_ANNOTATION: "a"}, status)
    for token in "ab":
        [one] = requests({RUN_ANNOTATION: token}, status)
        assert RecordRequest(request=one, at=AT).apply(status) is Outcome.WRITE
    assert RecordRequest(request=first, at=AT).apply(status) is Outcome.STALE
    assert requests({RUN_ANNOTATION: "b"}, status) == ()
    assert entry_of(status, "app").run_requested == 2


def test_an_announcement_that_is_waited_for_stays():
    """A person who requested meanwhile must not end the wait for the commit that a forge announced."""
    status = {"checkedSources": {"app": {"requested": 1, "handled": 0, "announced": {"commit": "c" * 40, "at": AT}}}}
    [one] = requests({CHECK_ANNOTATION: "1"}, status)
    RecordRequest(request=one, at=AT).apply(status)
    entry = entry_of(status, "app")
    assert (entry.requested, entry.announced.commit) == (2, "c" * 40)
    assert entry_of(status, "lib").announced.commit is None


LISTED = {"checkedSources": {"app": {}, "app@tags/v1": {"commitHash": "c" * 40}, "app@tags/v0": {"commitHash": None}}}


def test_a_run_of_one_reference_is_requested():
    """A source that is named with its reference is that entry alone."""
    status = copy.deepcopy(LISTED)
    [one] = requests({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "app@tags/v1"}, status)
    assert (one.problem, one.sources) == (None, ("app@tags/v1",))
    assert RecordRequest(request=one, at=AT).apply(status) is Outcome.WRITE
    counted = {key: entry_of(status, key).run_requested for key in status["checkedSources"]}
    assert counted == {"app": 0, "app@tags/v1": 1, "app@tags/v0": 0}


@pytest.mark.parametrize("key", ["app@tags/v0", "app@tags/v2", "other@tags/v1"])
def test_a_reference_that_was_not_checked_is_named(key):
    """One without a commit, without an entry, and of another source."""
    [one] = requests({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: key}, LISTED)
    assert f"names {key!r}, which is no source of the trigger and no reference that it has checked" in one.problem


def test_a_reference_that_is_deleted_meanwhile_gets_no_entry():
    """The token is handled, and nothing runs."""
    [one] = requests({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "app@tags/v1"}, LISTED)
    status = {"checkedSources": {"app": {}}}
    assert RecordRequest(request=one, at=AT).apply(status) is Outcome.WRITE
    assert list(status["checkedSources"]) == ["app"]


def test_a_reference_that_is_named_with_its_source_runs_once():
    """It is among all those of the source."""
    status = copy.deepcopy(LISTED)
    status["checkedSources"]["app"]["listedAt"] = AT
    [one] = requests({RUN_ANNOTATION: "1", SOURCES_ANNOTATION: "app, app@tags/v1"}, status)
    assert RecordRequest(request=one, at=AT).apply(status) is Outcome.WRITE
    assert entry_of(status, "app@tags/v1").run_requested == 1

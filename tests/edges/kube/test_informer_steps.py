"""The informer's state machine as a table: what a LIST, an event or an end of the stream leads to."""

import pytest

from git_events_runner.edges.kube.informer import (
    ABSENT_BACKOFF_S,
    FIRST_BACKOFF_S,
    HEALTHY_S,
    LONGEST_BACKOFF_S,
    Do,
    Ended,
    Event,
    Listed,
    State,
    step,
)
from git_events_runner.errors import ApiForbidden, ApiGone, ApiNotFound, ApiTooManyRequests, ApiUnavailable

WATCHING = State(do=Do.WATCH, version="7")


def busy(after_s):
    error = ApiTooManyRequests("busy")
    error.retry_after_s = after_s
    return error


def event(kind, *, version="8", code=None, at=1.0):
    return Event(type=kind, version=version, code=code, at=at)


def ended(error, *, at=1.0, lasted_s=None):
    """The server's time-out comes after minutes; a request that failed has not lasted."""
    return Ended(error=error, at=at, lasted_s=(0.0 if error else 400.0) if lasted_s is None else lasted_s)


TABLE = {
    "a list is followed by a watch from its version": (State(), Listed(version="5", at=1.0), Do.WATCH, "5", 0.0),
    "an event moves the version": (WATCHING, event("MODIFIED"), Do.WATCH, "8", 0.0),
    "a bookmark moves the version": (WATCHING, event("BOOKMARK", version="99"), Do.WATCH, "99", 0.0),
    "the server's time-out: watch again at once, from there": (WATCHING, ended(None), Do.WATCH, "7", 0.0),
    "a stream that ends at once is a failure": (WATCHING, ended(None, lasted_s=0.01), Do.WATCH, "7", FIRST_BACKOFF_S),
    "a cut stream: watch again from the last version": (
        WATCHING,
        ended(ApiUnavailable("cut")),
        Do.WATCH,
        "7",
        FIRST_BACKOFF_S,
    ),
    "410 as HTTP: list at once": (WATCHING, ended(ApiGone("old")), Do.LIST, "7", 0.0),
    "410 as an ERROR event: list at once": (WATCHING, event("ERROR", code=410, version=""), Do.LIST, "7", 0.0),
    "another ERROR event: list after the back-off": (
        WATCHING,
        event("ERROR", code=500, version=""),
        Do.LIST,
        "7",
        FIRST_BACKOFF_S,
    ),
    "429 as an ERROR event: no list": (WATCHING, event("ERROR", code=429, version=""), Do.WATCH, "7", FIRST_BACKOFF_S),
    "429 on a watch: what it says, no list": (WATCHING, ended(busy(9.0)), Do.WATCH, "7", 9.0),
    "403 on a watch: no list": (WATCHING, ended(ApiForbidden("no")), Do.WATCH, "7", FIRST_BACKOFF_S),
    "404 on a watch (the CRD is gone): no list": (WATCHING, ended(ApiNotFound("no")), Do.WATCH, "7", FIRST_BACKOFF_S),
    "429 on a list: list again, when it says": (State(), ended(busy(9.0)), Do.LIST, "", 9.0),
    "410 on a continue token: list again from the start": (State(), ended(ApiGone("old")), Do.LIST, "", 0.0),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_follows(name):
    """Next action, version to watch from, pause before it."""
    state, given, do, version, pause_s = TABLE[name]
    after = step(state, given)
    assert (after.do, after.version, after.pause_s) == (do, version, pause_s)


def test_the_pause_doubles_up_to_half_a_minute():
    """An API server that is away is asked less and less often."""
    state, pauses = WATCHING, []
    for number in range(8):
        state = step(state, ended(ApiUnavailable("away"), at=float(number)))
        pauses.append(state.pause_s)
    assert pauses == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S]


@pytest.mark.parametrize("lasted_s", [1.0, 8.0, 400.0])
def test_a_stream_that_was_there_forgives_earlier_failures(lasted_s):
    """Connections that are cut every eight seconds are watched again after the first back-off, each time."""
    state = WATCHING
    for number in range(6):
        state = step(state, ended(ApiUnavailable("away"), at=float(number)))
    for number in range(50):
        state = step(state, ended(ApiUnavailable("cut"), at=10.0 * number, lasted_s=lasted_s))
        assert state.pause_s == FIRST_BACKOFF_S


def test_an_event_forgives_earlier_failures():
    """Also when the stream is cut right after it; an ERROR does not."""
    state = WATCHING
    for number in range(6):
        state = step(state, ended(ApiUnavailable("away"), at=float(number)))
    failed = step(state, event("ERROR", code=500, version="", at=7.0))
    assert failed.pause_s == LONGEST_BACKOFF_S
    state = step(step(state, event("BOOKMARK", at=7.0)), ended(ApiUnavailable("cut"), at=7.1))
    assert state.pause_s == FIRST_BACKOFF_S


def test_a_stream_that_is_cut_at_once_is_no_success():
    """The pause doubles, as for a request that failed."""
    state = step(WATCHING, ended(ApiUnavailable("cut"), lasted_s=0.2))
    state = step(state, ended(ApiUnavailable("cut"), lasted_s=0.2))
    assert state.pause_s == 2 * FIRST_BACKOFF_S


def test_a_kind_that_is_not_served_is_asked_for_every_few_seconds():
    """Its CRD was deleted and may be created any moment; what failed before does not matter."""
    state = WATCHING
    for number in range(8):
        state = step(state, ended(ApiUnavailable("away"), at=float(number)))
    for number in range(20):
        state = step(state, ended(ApiNotFound("no"), at=40.0 + number))
        assert state.pause_s <= ABSENT_BACKOFF_S


def test_410_again_and_again_is_not_a_list_storm():
    """Only the first list is at once."""
    state = step(WATCHING, ended(ApiGone("old")))
    state = step(state, Listed(version="9", at=1.1))
    again = step(state, ended(ApiGone("old"), at=1.2))
    assert (again.do, again.pause_s > FIRST_BACKOFF_S) == (Do.LIST, True)


def test_410_after_each_event_is_not_a_list_storm_either():
    """Two minutes later a list is at once again."""
    state = step(WATCHING, ended(ApiGone("old"), at=1.0))
    for number in range(5):
        state = step(state, event("MODIFIED", at=2.0 + number))
        state = step(state, event("ERROR", code=410, version="", at=2.5 + number))
        assert state.pause_s == FIRST_BACKOFF_S
    late = step(state, ended(ApiGone("old"), at=7.0 + HEALTHY_S))
    assert late.pause_s == 0.0

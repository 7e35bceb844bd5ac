"""Whether a failed run is run again, from its Job, the trigger and the entry."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter, ValidationError

from git_events_runner.resources.job import COMMIT_ANNOTATION, REASON_ANNOTATION, RUN_ANNOTATION, JobView, RunKey
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.retry import ATTEMPT_ANNOTATION, GENERATION_ANNOTATION, Attempt, Retry
from git_events_runner.rules.identity import Owner
from git_events_runner.rules.jobs.retry import backoff_s, next_attempt, retry_at
from git_events_runner.rules.waits import WaitPolicy
from git_events_runner.rules.windows import Windows

ENDED = "2026-05-06T07:00:00Z"
NOW = datetime(2026, 5, 6, 7, 30, tzinfo=UTC)
CLONE = "Container cloner for pod n/x failed with exit code 65 matching FailJob rule at index 0"


def job(*, result="Failed", generation="3", attempt=None, clone=False, deleting=False, reason="fire-changed"):
    annotations = {
        RUN_ANNOTATION: str(RunKey(trigger_uid="u", source="app", number=7)),
        COMMIT_ANNOTATION: "c" * 40,
        GENERATION_ANNOTATION: generation,
        REASON_ANNOTATION: reason,
    } | ({ATTEMPT_ANNOTATION: attempt} if attempt else {})
    condition = {"type": result, "status": "True", "lastTransitionTime": ENDED, "message": CLONE if clone else ""}
    pod = {"initContainers": [{"name": "cloner"}]}
    metadata = {"annotations": annotations} | ({"deletionTimestamp": ENDED} if deleting else {})
    return JobView.of(
        {
            "metadata": metadata,
            "spec": {"template": {"spec": pod}},
            "status": {"conditions": [condition] if result else []},
        }
    )


def at_of(failed, of, *, waits=None, closed_until=None, now=NOW):
    return retry_at(failed, of, waits=waits, closed_until=closed_until, now=now)


def owner(*, runs=7, suspend=False, generation=3, names=("app",), entry=None, **retry):
    spec = SimpleNamespace(
        sources=SimpleNamespace(names=names, kind="GitRepo"),
        suspend=suspend,
        retry=Retry(**({"limit": 3} | retry)) if retry.get("limit", 3) is not None else None,
    )
    trigger = SimpleNamespace(
        ref=Ref("WebhookTrigger", "n", "hook"),
        uid="u",
        model=SimpleNamespace(spec=spec, metadata=SimpleNamespace(generation=generation)),
        raw={"status": {"checkedSources": {"app": {"runs": runs, "commitHash": "c" * 40} | (entry or {})}}},
    )
    return Owner(trigger=trigger, source="app", number=7)


@pytest.mark.parametrize(
    ("failed", "of", "expected"),
    [
        (job(), owner(), Attempt(number=2, most=4)),
        (job(attempt="3/4"), owner(), Attempt(number=4, most=4)),
        (job(attempt="4/4"), owner(), None),
        (job(), owner(limit=0), None),
        (job(), owner(limit=None), None),
        (job(), owner(limit=100), Attempt(number=2, most=11)),
        (job(), owner(runs=8), None),  # a newer run is recorded
        (job(), owner(runs=6), Attempt(number=2, most=4)),  # this one is not recorded yet
        (job(), owner(generation=4), None),  # the trigger was changed
        (job(generation=""), owner(), None),  # created by a version that does not record it
        (job(), owner(suspend=True), None),
        (job(), owner(names=("other",)), None),
        (job(deleting=True), owner(), None),
        (job(reason="other"), owner(), None),  # no run of a commit
        (job(reason="fire-deleted"), owner(), None),
        (job(reason="retry"), owner(), Attempt(number=2, most=4)),
        (job(result="Complete"), owner(), None),
        (job(result=None), owner(), Attempt(number=2, most=4)),  # it may still fail
        (job(clone=True), owner(on=("Failed",)), None),
        (job(clone=True), owner(on=("CloneFailed",)), Attempt(number=2, most=4)),
        (job(), owner(on=("CloneFailed",)), None),
    ],
)
def test_a_failed_run_is_run_again_while_nothing_newer_is_known(failed, of, expected):
    """Within the limit, by the trigger that it was created from, as the last run of its source."""
    assert next_attempt(failed, of, most=10) == expected


def test_a_retry_starts_when_its_back_off_is_over():
    """From the end of the failed Job: a restart of the controller changes nothing."""
    assert at_of(job(), owner(backoff="5m")) == datetime(2026, 5, 6, 7, 5, tzinfo=UTC)
    assert at_of(job(attempt="2/4"), owner(backoff="5m")) == datetime(2026, 5, 6, 7, 10, tzinfo=UTC)
    assert at_of(job(), owner(runs=6)) is None
    assert at_of(job(result=None), owner()) is None


OPEN = WaitPolicy(windows=Windows(()))
HOURLY = WaitPolicy(cooldown=timedelta(hours=1))
STARTED = {"lastStart": "2026-05-06T06:59:00Z"}
NEWER = {"waiting": {"reason": "OutsideWindows", "commit": "d" * 40}}
SOON = NOW + timedelta(seconds=15)


@pytest.mark.parametrize(
    ("waits", "closed_until", "entry", "expected"),
    [
        (OPEN, None, {}, datetime(2026, 5, 6, 7, 1, tzinfo=UTC)),
        (OPEN, NOW + timedelta(seconds=9), {}, NOW + timedelta(seconds=9)),
        (OPEN, NOW + timedelta(hours=9), {}, SOON),  # windows may be edited
        (OPEN, None, NEWER, SOON),
        (HOURLY, None, STARTED, datetime(2026, 5, 6, 7, 59, 1, tzinfo=UTC)),
        (HOURLY, None, {"lastStart": "2026-05-06T06:00:00Z"}, datetime(2026, 5, 6, 7, 1, tzinfo=UTC)),
        (WaitPolicy(quiet=timedelta(hours=1)), None, NEWER, datetime(2026, 5, 6, 7, 1, tzinfo=UTC)),
    ],
)
def test_a_retry_waits_as_changes_do(waits, closed_until, entry, expected):
    """For a window and for `cooldown`, and then for a newer commit; `debounce` is about references that move."""
    assert at_of(job(), owner(entry=entry), waits=waits, closed_until=closed_until) == expected


def test_the_back_off_doubles_up_to_an_hour():
    """Or to `backoff` itself, where that is longer; no number of attempts overflows."""
    assert [backoff_s("30s", attempt) for attempt in (1, 2, 3)] == [30.0, 60.0, 120.0]
    assert backoff_s("1m", 100) == 3600.0
    assert backoff_s("1d", 100) == 86_400.0


@pytest.mark.parametrize("text", ["30s", "5m", "1h 30m", "1h30m", "9999d"])
def test_a_back_off_is_written_with_units(text):
    """As an interval is, in whole numbers."""
    assert backoff_s(TypeAdapter(Retry).validate_python({"backoff": text}).backoff, 1) > 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"backoff": "0s"}, "backoff"),
        ({"backoff": "5"}, "backoff"),
        ({"backoff": "soon"}, "backoff"),
        ({"limit": -1}, "limit"),
        ({"limit": 101}, "limit"),
        ({"on": ["Expired"]}, "on"),
    ],
)
def test_a_wrong_retry_is_refused_with_the_field(given, field):
    """The message names what to change."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Retry).validate_python(given)
    assert field in str(caught.value)


def test_on_without_quotes_means_the_same():
    """YAML 1.1 reads it as `true`, and kubectl sends that as the name of the field."""
    retry = TypeAdapter(Retry).validate_python({"limit": 1, "true": ["CloneFailed"]})
    assert retry.causes == ("CloneFailed",)
    assert TypeAdapter(Retry).validate_python({"limit": 1}).causes == ("Failed", "CloneFailed")
    with pytest.raises(ValidationError, match="given twice"):
        TypeAdapter(Retry).validate_python({"on": ["Failed"], "true": ["Failed"]})


@pytest.mark.parametrize("text", ["", "x", "2", "/", "-1/3", "2/1", "9" * 400 + "/2", "2/x"])
def test_a_strange_attempt_is_no_error(text):
    """Anybody may write a Job's annotations."""
    found = Attempt.of({ATTEMPT_ANNOTATION: text})
    assert 1 <= found.number <= found.most

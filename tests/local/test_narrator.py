"""What is printed: one line an event, colour only where it is wanted."""

from datetime import UTC, datetime

import pytest
import structlog

from git_events_runner.local.narrator import RESULTS, Narrator
from git_events_runner.local.once import Once
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.check_result import CheckResult

CHECK = {"kind": "ScheduleTrigger", "namespace": "team", "name": "nightly", "source": "app"}


def narrator(lines: list[str], *, color: bool = False, every_check: bool = False) -> Narrator:
    return Narrator(
        write=lines.append, color=color, now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), every_check=every_check
    )


def tell(target: Narrator, event: str, level: str = "info", **fields: object) -> None:
    with pytest.raises(structlog.DropEvent):
        target(None, level, {"event": event, **fields})


def test_a_run():
    """A new commit, its Job, output and end are one line each."""
    lines: list[str] = []
    told = narrator(lines)
    tell(told, "job.created", **CHECK, commit="a" * 40, reason="fire-changed", job="nightly-x")
    told.job_printed(Ref("Job", "team", "nightly-x"), "hello\x1b[2J")
    told.job_ended(Ref("Job", "team", "nightly-x"), "CompletionsReached", "exit code 0")
    assert lines == [
        "03:04:05 team/nightly app: aaaaaaaa, new commit: job nightly-x",
        "[nightly-x] hello�[2J",
        "03:04:05 job nightly-x: succeeded",
    ]


def test_quiet_schedules():
    """A schedule that finds nothing again is told once; a called webhook always is."""
    lines: list[str] = []
    told = narrator(lines)
    for _ in range(3):
        tell(told, "check.finished", "debug", **CHECK, verdict="skip-same")
    for _ in range(2):
        tell(told, "webhook.accepted", namespace="team", name="nightly", source="app")
        tell(told, "check.finished", "debug", **{**CHECK, "kind": "WebhookTrigger"}, verdict="skip-same")
    looked, called = "03:04:05 team/nightly app: nothing new", "03:04:05 team/nightly app: webhook called"
    assert lines == [looked, called, looked, called, looked]


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("webhook.rejected", {"reason": "wrong secret", "name": "push"}, "team/push: webhook refused: wrong secret"),
        ("webhook.ignored", {"reason": "not main", "name": "push"}, "team/push: webhook ignored: not main"),
        ("job.superseded", {"job": "push-x"}, "team: job push-x: superseded by a newer run before it started"),
        ("job.replaced", {"job": "push-x"}, "team: job push-x: stopped, because a newer run replaces it"),
        ("loop.late", {"seconds": 1.5}, "team: this machine is busy: for 1.5 s nothing was done"),
        ("job.expired", {"job": "push-x"}, "team: job push-x: waited too long for a slot, deleted before it started"),
    ],
)
def test_sentences(event: str, fields: dict, expected: str):
    """What happens without a run is told with its reason."""
    lines: list[str] = []
    tell(narrator(lines), event, **{"namespace": "team", **fields})
    assert lines == [f"03:04:05 {expected}"]


def test_problems():
    """Problems are told with their reason, also those of events without a sentence of their own."""
    lines: list[str] = []
    told = narrator(lines)
    tell(told, "check.failed", "warning", **CHECK, reason="Unreachable", error="no connection")
    tell(told, "config.rejected", "warning", name="cm", error="bad key")
    assert lines == [
        "03:04:05 team/nightly app: Unreachable: no connection; is repoUri right, and can this machine reach it?",
        "03:04:05 cm: config rejected: bad key",
    ]


def test_the_same_problem_again():
    """A problem that stays is told once."""
    lines: list[str] = []
    told = narrator(lines)
    for level in ("warning", "debug", "debug"):
        tell(told, "check.failed", level, **CHECK, reason="Timeout", error="too slow")
    assert lines == ["03:04:05 team/nightly app: Timeout: too slow"]


def test_the_same_problem_again_with_once():
    """Where every check is told, a problem is told again only when it is another one."""
    lines: list[str] = []
    told = narrator(lines, every_check=True)
    for level, error in (("warning", "too slow"), ("debug", "too slow"), ("debug", "reset"), ("debug", "reset")):
        tell(told, "check.failed", level, **CHECK, reason="Timeout", error=error)
    assert [line.rpartition(": ")[2] for line in lines] == ["too slow", "reset"]


def test_one_piece_of_advice():
    """A problem that says what to do gets no second hint."""
    lines: list[str] = []
    error = "the server wants a credential; give the source an authConfig"
    tell(narrator(lines), "check.failed", "warning", **CHECK, reason="AuthenticationFailed", error=error)
    assert lines == [f"03:04:05 team/nightly app: AuthenticationFailed: {error}"]


def test_many_calls():
    """The first call of a webhook is told at once, the others with the look that answers them."""
    lines: list[str] = []
    told = narrator(lines)
    hook = {"namespace": "team", "name": "push"}
    look = {**hook, "kind": "WebhookTrigger", "source": "app"}
    for _ in range(3):
        tell(told, "webhook.accepted", **hook, status=202)
    tell(told, "job.created", **look, commit="a" * 40, reason="fire-changed", job="push-x")
    tell(told, "check.finished", "debug", **look, verdict="fire-changed")
    tell(told, "check.finished", "debug", **look, verdict="skip-answered")
    tell(told, "webhook.accepted", **hook, status=202)
    tell(told, "check.finished", "debug", **look, verdict="skip-answered")
    assert lines == [
        "03:04:05 team/push: webhook called",
        "03:04:05 team/push app: aaaaaaaa, new commit (3 calls): job push-x",
        "03:04:05 team/push: webhook called",
        "03:04:05 team/push app: handled by the check before",
    ]


def test_colour():
    """Colour is there when asked for, and ends with its line."""
    lines: list[str] = []
    narrator(lines, color=True).job_ended(Ref("Job", "a", "b"), "DeadlineExceeded", "too long")
    assert "\x1b[31m" in lines[0]
    assert lines[0].endswith("\x1b[0m")


async def test_once():
    """Once is over when every source was checked and every created Job has ended; failures are remembered."""
    once = Once([(Ref("ScheduleTrigger", "team", "nightly"), ["app", "lib"])])
    once.observe("job.created", {})
    once.observe("check.finished", {**CHECK, "verdict": "fire-first"})
    once.observe("check.finished", {**CHECK, "source": "lib", "verdict": "git-failed"})
    assert not once._done.is_set()
    once.job_ended("nightly-x", succeeded=True)
    await once.wait()
    assert once.failed
    assert once.summary == "2 sources checked, 1 run; failed: team/nightly lib"


def test_every_result_of_a_check_is_printed():
    """By its own line, or by the event of the Job that was created, or of the problem that was found."""
    by_events = {result for result in CheckResult if result.fires or result.is_error}
    by_events |= {CheckResult.WRONG_CONFIG, CheckResult.INVALID}
    silent = {CheckResult.FENCE_LOST, CheckResult.RESTART, CheckResult.DROPPED}
    assert set(RESULTS) == set(CheckResult) - by_events - silent


def test_jobs_of_a_trigger_have_a_short_name_and_a_colour():
    """Lines of a Job begin with its short name, in a colour of its trigger; colours of the worker are kept, safely."""
    lines: list[str] = []
    told = narrator(lines, color=True)
    one, two = (Ref("Job", "team", f"nightly-{digest}") for digest in ("qiisr23h24u6jvif", "abcdefghijklmnop"))
    told.job_printed(one, "\x1b[31mred\x1b[2J")
    told.job_printed(two, "plain")
    colour = lines[0].partition("m")[0]
    assert lines[0] == f"{colour}m[nightly-qiis]\x1b[0m \x1b[31mred\ufffd[2J\x1b[0m"
    assert lines[1] == f"{colour}m[nightly-abcd]\x1b[0m plain"


def test_the_runs_that_a_stop_cancels_are_named():
    """Jobs that have started and not ended are named, others are not."""
    lines: list[str] = []
    told = narrator(lines)
    for name in ("a", "b", "c", "d"):
        told.job_started(Ref("Job", "team", name))
    told.job_ended(Ref("Job", "team", "a"), "CompletionsReached", "")
    tell(told, "job.replaced", namespace="team", job="c")
    tell(told, "job.cancelled", namespace="team", job="d")
    told.stopping()
    assert lines[-1].endswith("stopping, cancelled job b")


def test_the_first_eight_triggers_have_different_colours():
    """Independent of their names; the ninth has the colour of the first."""
    lines: list[str] = []
    told = narrator(lines, color=True)
    for number in range(9):
        told.job_printed(Ref("Job", "team", f"t{number}-abcdefghijklmnop"), "x")
    colours = [line.partition("m")[0] for line in lines]
    assert len(set(colours[:8])) == 8
    assert colours[8] == colours[0]

"""Conditions: one line for each source with a problem, gone with its success; nothing written that is not news."""

from git_events_runner.rules.derived_conditions import conditions_of
from git_events_runner.rules.ledger.mutations import Outcome
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import CloneReport, Problem, Report, Warn

UNREACHABLE = Problem(reason="Unreachable", message="https://x/y: connection refused")
MISSING = Problem(reason="SourceNotFound", message="GitRepo n/s does not exist", stalled=True)


def report(source, problem, now="2026-01-01T00:00:00Z", generation=1):
    return Report(source=source, problem=problem, generation=generation, now=now)


def test_success_writes_ready_once():
    """The first success is news, the second is not."""
    status, outcomes = combine({}, [report("a", None), report("a", None, now="2026-01-02T00:00:00Z")])
    assert outcomes == [Outcome.WRITE, Outcome.DONE]
    assert conditions_of(status)["Ready"]["status"] == "True"
    assert (status["state"], status["observedGeneration"]) == ("Idle", 1)


def test_a_failure_that_is_tried_again_is_reconciling():
    """Ready is False with reason and message, Reconciling True; nobody has to act."""
    status, _ = combine({}, [report("a", UNREACHABLE)])
    conditions = conditions_of(status)
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Ready"]["reason"] == "Unreachable"
    assert conditions["Reconciling"]["message"] == "source a: https://x/y: connection refused"
    assert "Stalled" not in conditions
    assert status["state"] == "Idle"
    assert combine(status, [report("a", UNREACHABLE, now="2026-01-02T00:00:00Z")])[1] == [Outcome.DONE]


def test_what_somebody_has_to_mend_is_stalled_and_wrong_config():
    """The state is the original's word for it, and goes with its cause."""
    status, _ = combine({}, [report("a", MISSING)])
    assert status["state"] == "WrongConfig"
    assert conditions_of(status)["Stalled"]["reason"] == "SourceNotFound"
    status, _ = combine(status, [report("a", None)])
    assert status["state"] == "Idle"
    assert list(conditions_of(status)) == ["Ready"]


def test_one_source_does_not_clear_anothers_problem():
    """Each source has its line; success of one leaves the other's."""
    status, _ = combine({}, [report("a", UNREACHABLE), report("b", MISSING), report("a", None)])
    conditions = conditions_of(status)
    assert conditions["Ready"]["message"] == "source b: GitRepo n/s does not exist"
    assert "Reconciling" not in conditions
    assert "Stalled" in conditions


def test_the_transition_time_moves_only_with_the_status():
    """A new message of the same status keeps the time of the transition."""
    status, _ = combine({}, [report("a", UNREACHABLE)])
    other = Problem(reason="Timeout", message="took 20 s")
    status, _ = combine(status, [report("a", other, now="2026-01-02T00:00:00Z")])
    assert conditions_of(status)["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert conditions_of(status)["Ready"]["reason"] == "Timeout"


def test_foreign_conditions_are_kept():
    """What others put there stays."""
    status, _ = combine({"conditions": [{"type": "Audited", "status": "True"}]}, [report("a", None)])
    assert conditions_of(status)["Audited"] == {"type": "Audited", "status": "True"}


def test_messages_are_one_line_each_and_bounded():
    """A message of several lines cannot forge another source's line."""
    wide = Problem(reason="ProtocolError", message="x\nsource b: forged " + "y" * 5000)
    status, _ = combine({}, [report("a", wide)])
    message = conditions_of(status)["Ready"]["message"]
    assert "\n" not in message
    assert len(message) < 700


def warned(status, message, source="app", reason="WebhookMissed"):
    return combine(status, [Warn(reason=reason, source=source, message=message)])


def test_a_warning_hinders_nothing_and_stays_through_reports():
    """Ready stays True with the warning's reason; problems come and go beside it; it goes when it is taken back."""
    good = Report(source="app", problem=None, generation=1, now="2026-05-06T07:08:09Z")
    bad = Report(
        source="app", problem=Problem(reason="Timeout", message="slow"), generation=1, now="2026-05-06T07:08:09Z"
    )
    status, _ = combine({}, [good])
    status, outcomes = warned(status, "look\nthere")
    assert outcomes == [Outcome.WRITE]
    ready = conditions_of(status)["Ready"]
    assert (ready["status"], ready["reason"]) == ("True", "WebhookMissed")
    assert ready["message"] == "watching\nwarning WebhookMissed: source app: look there"
    assert warned(status, "look there")[1] == [Outcome.DONE]
    status, _ = combine(status, [bad])
    assert conditions_of(status)["Ready"]["reason"] == "Timeout"
    assert "warning WebhookMissed" in conditions_of(status)["Ready"]["message"]
    status, _ = combine(status, [good])
    assert conditions_of(status)["Ready"]["reason"] == "WebhookMissed"
    status, _ = warned(status, "another", source=None, reason="WebhookOpen")
    status, _ = warned(status, None)
    ready = conditions_of(status)["Ready"]
    assert (ready["reason"], ready["message"]) == ("WebhookOpen", "watching\nwarning WebhookOpen: another")
    status, _ = warned(status, None, source=None, reason="WebhookOpen")
    assert (conditions_of(status)["Ready"]["reason"]) == "Succeeded"
    assert combine(status, [good])[1] == [Outcome.DONE]


def test_before_the_first_report_there_is_nothing_to_warn_in():
    """The warning comes with the next occasion."""
    assert warned({}, "early")[1] == [Outcome.DONE]


def test_a_failed_clone_of_a_source_that_is_gone_is_told_no_more():
    """Its entry is pruned, and no Job of it will ever clear the line."""
    entries = {"checkedSources": {"a": {"lastJob": {"name": "job-a"}}, "b": {"lastJob": {"name": "job-b"}}}}
    exits = {"a": ("job-a", 3), "b": ("job-b", 4)}
    status, _ = combine(entries, [CloneReport(exits=exits, generation=1, now="2026-01-01T00:00:00Z")])
    assert conditions_of(status)["CloneFailed"]["message"].count("\n") == 1
    del status["checkedSources"]["a"]
    left = CloneReport(exits={"b": ("job-b", 4)}, generation=1, now="2026-01-01T00:00:00Z")
    status, _ = combine(status, [left])
    assert conditions_of(status)["CloneFailed"]["message"].startswith("source b: ")
    del status["checkedSources"]["b"]
    status, _ = combine(status, [CloneReport(exits={}, generation=1, now="2026-01-01T00:00:00Z")])
    assert conditions_of(status) == {}

"""Conditions as a function of what a status records: always right, small, and never read."""

import ast
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import git_events_runner
from git_events_runner.resources.status import TriggerStatus
from git_events_runner.resources.status_bounds import bounded_status
from git_events_runner.rules.derived_conditions import CONDITIONS_BYTES, conditions_of
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.ledger.mutations import Outcome, rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.prune import Prune
from git_events_runner.rules.ledger.report import CloneReport, Problem, Report, Warn, is_news, nothing_to_clear
from git_events_runner.rules.problems import earlier_sources, problem_of
from tests.rules.previous_reports import previous_report

NOW = "2026-01-01T00:00:00Z"
SLOW = Problem(reason="Timeout", message="no answer in 20 s")
MISSING = Problem(reason="SourceNotFound", message="GitRepo n/s does not exist", stalled=True)
NAMES = [f"src{number:03}" for number in range(1000)]

_problems = st.builds(
    Problem,
    reason=st.text(min_size=1, max_size=80),
    message=st.text(max_size=30)
    | st.sampled_from(['"<&>' * 400, "é" * 700, "\x00\ud800" * 300, "a: b\nsource x: " * 50]),
    stalled=st.booleans(),
)
_steps = st.lists(
    st.tuples(st.sampled_from(NAMES[:3] + NAMES[-3:]), st.none() | _problems | st.just(SLOW), st.integers(0, 8)),
    max_size=8,
)


def report(source, problem, now=NOW):
    return Report(source=source, problem=problem, generation=1, now=now)


def ready(status):
    return conditions_of(status)["Ready"]["status"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), _problems, _steps)
def test_ready_is_true_exactly_while_no_source_has_a_problem(failing, problem, steps):
    """After any sequence of reports of 1,000 sources; and all conditions together have at most 8 KiB."""
    truth = {name: (problem if number < failing else None) for number, name in enumerate(NAMES)}
    entries = {name: {"lastJob": {"name": "j" * 63}} for name in NAMES}
    status, _ = combine({"checkedSources": entries}, [report(name, found) for name, found in truth.items()])
    for source, found, code in steps:
        truth[source] = found
        mutations = [
            report(source, found),
            Warn(reason="FilesSelectNothing", source=source, message=(problem.message if code % 2 else None)),
            CloneReport(exits={source: ("j" * 63, code or None)}, generation=1, now=NOW),
        ]
        status, _ = combine(status, mutations)
        assert ready(status) == ("False" if any(truth.values()) else "True")
        assert len(json.dumps(status["conditions"], ensure_ascii=False).encode()) <= CONDITIONS_BYTES
        kinds = {found.stalled for found in truth.values() if found}
        assert {name for name in ("Stalled", "Reconciling") if name in conditions_of(status)} == (
            ({"Stalled"} if True in kinds else set()) | ({"Reconciling"} if False in kinds else set())
        )
    assert bounded_status(status, {"sources": {"names": NAMES}}) == status
    TriggerStatus.of(status)


def test_twenty_long_problems_of_which_fourteen_end_leave_six():
    """Ready stays False, and tells how many there are."""
    long = Problem(reason="Unreachable", message="x" * 580)
    status, _ = combine({}, [report(name, long) for name in NAMES[:20]])
    message = conditions_of(status)["Ready"]["message"]
    assert message.startswith("20 sources fail: src000: xxx")
    assert message.endswith("…; and 15 more")
    status, _ = combine(status, [report(name, None) for name in NAMES[:14]])
    assert conditions_of(status)["Ready"]["message"].startswith("6 sources fail: src014: ")
    status, _ = combine(status, [report(name, None) for name in NAMES[14:20]])
    assert (ready(status), conditions_of(status)["Ready"]["message"]) == ("True", "watching")


def test_a_status_with_a_thousand_long_problems_stays_writable():
    """Their messages are cut shorter, and stay the same for the next check."""
    long = Problem(reason="Unreachable", message="x" * 580)
    status, _ = combine({}, [report(name, long) for name in NAMES])
    assert len(json.dumps(status)) < 400_000
    assert combine(status, [report(name, long) for name in NAMES])[1] == [Outcome.DONE] * 1000
    assert not is_news(status, NAMES[-1], long)


def test_a_problem_has_its_time_and_keeps_it_while_its_reason_lasts():
    """`since` is when a problem of that reason came, whatever its message was meanwhile."""
    status, _ = combine({}, [report("app", SLOW)])
    other = Problem(reason="Timeout", message="no answer in 30 s")
    status, _ = combine(status, [report("app", other, now="2026-01-02T00:00:00Z")])
    assert status["checkedSources"]["app"]["problem"] == {
        "reason": "Timeout",
        "message": "no answer in 30 s",
        "stalled": False,
        "since": NOW,
    }


def test_a_problem_alone_makes_no_record_of_the_ledger():
    """A source that was never checked stays one: its first check is due, and its entry is removed with the problem."""
    status, _ = combine({"lastRunNumber": 7}, [report("app", SLOW)])
    assert not entry_of(status, "app").exists
    assert entry_of(status, "app").runs == 7
    status, _ = combine(status, [report("app", None)])
    assert status["checkedSources"] == {}


def test_a_pruned_source_takes_its_problem_along():
    """Its entry is removed, and with it the problem from the conditions."""
    status, _ = combine({}, [report("app", None), report("old", SLOW)])
    status, outcomes = combine(status, [report("app", None), Prune(keep=frozenset({"app"}))])
    assert outcomes == [Outcome.WRITE, Outcome.WRITE]
    assert ready(status) == "True"


# What another version wrote


def previous(*steps):
    status = {}
    for source, problem in steps:
        status = previous_report(status, source, problem, now=NOW)
    return status


def test_conditions_of_the_version_before_stay_until_something_changes():
    """They are read as they are: reports that bring nothing new write nothing."""
    healthy = previous(("app", None))
    assert nothing_to_clear(healthy, 1, "app")
    assert combine(healthy, [report("app", None)])[1] == [Outcome.DONE]
    failing = previous(("app", SLOW))
    assert combine(failing, [Report(source=None, problem=None, generation=1, now=NOW)], sources=["app"])[1] == [
        Outcome.DONE
    ]


def test_a_problem_that_the_version_before_reported_is_kept_until_its_source_was_checked():
    """The success of another source does not end it, its own does, and then Ready is True."""
    status = previous(("app", SLOW), ("lib", None))
    assert not nothing_to_clear(status, 1, "lib")
    status, outcomes = combine(status, [report("lib", None)], sources=["app", "lib"])
    assert (outcomes, ready(status), earlier_sources(status)) == ([Outcome.WRITE], "False", ["app"])
    assert "no answer in 20 s" in conditions_of(status)["Ready"]["message"]
    assert conditions_of(status)["Ready"]["lastTransitionTime"] == NOW
    assert nothing_to_clear(status, 1, "lib")
    status, _ = combine(status, [report("app", None)], sources=["app", "lib"])
    assert (ready(status), "problems" in status) == ("True", False)


def test_a_problem_that_the_version_before_reported_becomes_typed_with_the_next_check():
    """The failing check replaces it, also if it is the very same problem."""
    status = previous(("app", MISSING))
    assert is_news(status, "app", MISSING)
    status, _ = combine(status, [report("app", MISSING)], sources=["app"])
    assert (problem_of(status, "app").reason, earlier_sources(status)) == ("SourceNotFound", [])
    assert conditions_of(status)["Stalled"]["message"] == "source app: GitRepo n/s does not exist"
    assert not is_news(status, "app", MISSING)


def test_a_check_of_one_reference_counts_for_its_source():
    """The version before knew sources alone."""
    status = previous(("app", SLOW))
    status, _ = combine(status, [report("app@heads/main", None)], sources=["app"])
    assert ready(status) == "True"


def test_what_no_check_replaces_ends_after_an_hour():
    """A source of a webhook may not be checked for months; nor may one that the spec does not name any more."""
    status, _ = combine(previous(("app", SLOW)), [report("lib", None)], sources=["app", "lib"])
    later = rfc3339(datetime.fromisoformat(NOW) + timedelta(hours=1, seconds=1))
    whole = Report(source=None, problem=None, generation=1, now=later)
    after, outcomes = combine(status, [whole], sources=["app", "lib"])
    assert (outcomes, ready(after)) == ([Outcome.WRITE], "True")
    after, outcomes = combine(status, [report("lib", None)], sources=["lib"])
    assert (outcomes, ready(after)) == ([Outcome.WRITE], "True")


_names = NAMES[:8]
_by_both = st.lists(
    st.tuples(st.booleans(), st.sampled_from(_names), st.none() | st.sampled_from([SLOW, MISSING])), max_size=30
)


@given(_by_both)
def test_no_problem_is_lost_while_replicas_of_two_versions_report(steps):
    """While a source fails Ready is False, by either version; once the new version checked all, it is exact."""
    status, truth = {}, dict.fromkeys(_names)
    for old, source, problem in steps:
        truth[source] = problem
        if old:
            status = previous_report(status, source, problem, now=NOW)
        else:
            status, _ = combine(status, [report(source, problem)], sources=_names)
        if any(truth.values()):
            assert ready(status) == "False"
    status, _ = combine(status, [report(name, truth[name]) for name in _names], sources=_names)
    assert ready(status) == ("False" if any(truth.values()) else "True")
    assert earlier_sources(status) == []


@pytest.mark.parametrize("odd", [[], "x", 7, {"reason": 3}, {"reason": ""}, {"message": "m"}])
def test_what_somebody_wrote_as_a_problem_ends_with_the_next_report(odd):
    """A strange value is no problem, and the source's success removes it."""
    status, _ = combine({}, [report("app", None)])
    status |= {"checkedSources": {"app": {"runs": 1, "problem": odd}}, "problems": odd, "warnings": odd}
    status, _ = combine(status, [report("app", None), Warn(reason="WebhookOpen", source=None, message="open")])
    assert (ready(status), "problem" in status["checkedSources"]["app"]) == ("True", False)
    assert status["warnings"] == [{"reason": "WebhookOpen", "message": "open"}]


# Nothing reads a message

_OTHERS = {
    "cli/overview.py": "shows conditions to people",
    "edges/kube/responses.py": "the API server's answers to requests",
    "edges/kube/client.py": "the API server's answers to requests",
    "flow/ui/trigger_view.py": "shows the problem of a source to people",
    "resources/job.py": "conditions that Kubernetes writes into Jobs",
    "rules/jobs/run_end.py": "conditions that Kubernetes writes into Jobs",
    "rules/notifications/delivery.py": "shows to people why a Notifier's message waits",
    "rules/host_keys.py": "a source's own condition, compared as a whole",
    "rules/problems.py": "the data: the message of a problem or a warning",
    "rules/derived_conditions.py": "takes over what another version wrote, as it is",
}


def test_no_code_reads_the_message_of_a_condition():
    """Every place that gets a field named `message` is known, and none of them looks into a condition of ours."""
    root = Path(git_events_runner.__file__).parent
    found = set()
    for path in sorted(root.rglob("*.py")):
        relative = str(path.relative_to(root))
        if relative.startswith(("local/", "cloner/")):
            continue  # they have no trigger's status
        if "conditions" not in path.read_text():
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            key = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                key = node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                key = node.args[0] if node.args else None
            if isinstance(key, ast.Constant) and key.value == "message":
                found.add(relative)
    assert found <= _OTHERS.keys(), f"reads a message: {sorted(found - _OTHERS.keys())}"

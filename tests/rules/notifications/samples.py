"""A run to report."""

from datetime import UTC, datetime, timedelta

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.notifications.report import RunReport

COMMIT = "0123456789abcdef0123456789abcdef01234567"
START = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)


def run(state="Succeeded", **fields):
    given = {
        "trigger": Ref("WebhookTrigger", "team", "build"),
        "trigger_uid": "trigger-uid",
        "source": "app",
        "number": 7,
        "job": Ref("Job", "team", "build-abc"),
        "job_uid": "job-uid",
        "commit": COMMIT,
        "repo_uri": "https://git.example/owner/app.git",
        "started_at": START,
        "ended_at": START + timedelta(seconds=61) if state in {"Succeeded", "Failed", "Cancelled"} else None,
    }
    return RunReport(state=state, **(given | fields))

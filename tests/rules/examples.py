"""Objects for the tests of rules."""

from pydantic import TypeAdapter

from git_events_runner.resources.actions import ActionJob

_ACTION_JOB = TypeAdapter(ActionJob)


def action_job(**fields):
    """An action's Job from its JSON fields."""
    return _ACTION_JOB.validate_python(fields)

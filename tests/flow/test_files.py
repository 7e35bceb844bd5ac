"""The warning while the patterns of a trigger select nothing of a source."""

import pytest
from structlog.testing import capture_logs

from git_events_runner.errors import GitTooLarge
from tests.flow.program import REF, program
from tests.flow.virtual import virtual
from tests.flow.world import B, Fence


def watching(made, *patterns, on_change_only=True):
    """Set the trigger's patterns."""
    spec = made.cluster.objects[REF]["spec"]
    watch = {"onChangeOnly": on_change_only, "files": list(patterns)}
    made.cluster.change(REF, spec={**spec, "sources": {**spec["sources"], "watchOn": watch}})


def warning(made):
    """The warning lines of Ready."""
    conditions = made.cluster.objects[REF].get("status", {}).get("conditions") or ()
    lines = next((c["message"].split("\n") for c in conditions if c["type"] == "Ready"), ())
    return [line for line in lines if line.startswith("warning FilesSelectNothing")]


@virtual
async def test_patterns_that_select_nothing_are_warned_of_at_the_first_check():
    """The first run starts all the same, Ready stays true, and the warning names source, patterns and commit."""
    made = program()
    watching(made, "docs/", "*.md5")
    with capture_logs() as logs:
        await made.check()
        await made.check(due="2026-01-02T00:00:00Z")
    assert len(made.jobs()) == 1
    assert made.condition() == ("True", "FilesSelectNothing")
    [line] = warning(made)
    [logged] = [entry for entry in logs if entry["event"] == "files.unmatched"]
    assert (logged["name"], logged["source"], logged["log_level"]) == (REF.name, "app", "warning")
    assert logged["error"] in line
    assert line.startswith(
        "warning FilesSelectNothing: source app: files (docs/, *.md5) selects nothing in commit aaaa"
    )


@virtual
async def test_patterns_that_select_something_cost_one_tree_at_the_first_check():
    """There is no warning, no further status write, and the next check reads no tree."""
    made = program()
    watching(made, "*.md")
    await made.check()
    await made.check(due="2026-01-02T00:00:00Z")
    assert (warning(made), made.git.trees, made.git.asked) == ([], 1, 2)


@virtual
@pytest.mark.parametrize("cure", ["a commit with such files", "other patterns", "no patterns", "every check runs"])
async def test_the_warning_ends_with_its_cause(cure):
    """A commit that has selected files takes it away, and so do patterns that select some, or none at all."""
    made = program()
    watching(made, "docs/")
    await made.check()
    await made.check(due="2026-01-02T00:00:00Z")
    assert (len(warning(made)), made.git.trees, made.git.asked) == (1, 1, 2)
    match cure:
        case "a commit with such files":
            made.git.head, made.git.paths = B, ["docs/a"]
        case "other patterns":
            watching(made, "*.md")
        case "no patterns":
            watching(made)
        case "every check runs":
            watching(made, "docs/", on_change_only=False)
    made.cluster.catch_up("WebhookTrigger")
    await made.check(due="2026-01-03T00:00:00Z")
    assert warning(made) == []
    assert made.condition() == ("True", "Succeeded")


@virtual
async def test_a_tree_that_cannot_be_read_hinders_no_first_run():
    """The run is made and the trigger is Ready; nothing is said of the patterns."""
    made = program()
    watching(made, "docs/")
    made.git.tree_error = GitTooLarge("too large")
    assert await made.check() is None
    assert (len(made.jobs()), warning(made)) == (1, [])


@virtual
async def test_who_is_no_longer_the_leader_warns_of_nothing():
    """The run is recorded, and the write of the warning is fenced."""
    made, fence = program(), Fence()
    watching(made, "docs/")
    tree = made.git.tree

    async def lost(*arguments):
        fence.lost = True
        return await tree(*arguments)

    made.git.tree = lost
    await made.check(fence=fence)
    assert (len(made.jobs()), warning(made)) == (1, [])

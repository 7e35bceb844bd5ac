"""Item 7: file patterns and names of files, both of a tenant's choice."""

import pytest

from tests.adversary.conditions import problems
from tests.cloner.cloning import blob_of, tree_of
from tests.cluster.plane import wait_until
from tests.edges.git.gitserver import commit_tree
from tests.system.conftest import sources

_TRIGGERS = 4
_COMMITS = 4
HOSTILE = ["*" + "a*" * 31 + "b"] * 1000


def names(number):
    """A tree's entry with a name of 4,000 characters, and a few more."""
    return [b"a" * (4000 - at) + b"%02d" % number for at in range(20)]


@pytest.mark.parametrize("patterns", [["*a" * 1000] * 300, ["p" * 1400] * 1000], ids=["600 KB", "1.4 MB"])
def test_item_7_patterns_beyond_the_limit(estate, repository, patterns):
    """Patterns of 600 KB and of 1.4 MB are refused in the condition, again and again, and cost nobody anything."""
    estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("GitRepo", evil, "app", {"repoUri": repository.url})
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    with estate.watched(seconds=6):
        for number in range(4):
            spec = sources(files=patterns) | {"schedule": {"interval": "1s"}}
            tenant.ours("ScheduleTrigger", evil, f"p{number}", spec)
        found = wait_until("conditions of all", lambda: problems(estate, 4), timeout_s=60, every_s=0.5)
    assert {reason for reason, _ in found.values()} == {"InvalidSpec"}
    assert all("at most 65536 are allowed" in text for _, text in found.values())


def test_item_7_hostile_patterns_and_names(estate, repository):
    """Within the limit, four triggers match patterns made to backtrack with names of 4,000 characters."""
    estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("GitRepo", evil, "app", {"repoUri": repository.url})
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    blob = blob_of(repository.path)
    parent = None
    with estate.watched(seconds=6):
        for number in range(_TRIGGERS):
            spec = sources(files=HOSTILE) | {"schedule": {"interval": "1s"}}
            tenant.ours("ScheduleTrigger", evil, f"p{number}", spec)
        for number in range(_COMMITS):
            tree = tree_of(repository.path, *((b"100644", name, blob) for name in sorted(names(number))))
            parent = commit_tree(repository.path, tree, parent=parent)
            wait_until(
                f"commit {number} is recorded",
                lambda commit=parent: _recorded(estate, commit),
                timeout_s=60,
                every_s=0.2,
            )


def _recorded(estate, commit):
    status = estate.api.trigger(estate.evil, "p0", "ScheduleTrigger").get("status") or {}
    return (status.get("checkedSources") or {}).get("app", {}).get("commitHash") == commit

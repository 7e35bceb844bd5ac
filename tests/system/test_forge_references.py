"""Branches, versions and pull requests of a real forge: Gitea delivers, git is read from it."""

import pytest

from tests.cluster.finisher import Finisher
from tests.forges.lifecycle import Lifecycle


@pytest.mark.timeout(290)
def test_what_a_forge_opens_pushes_renames_and_closes_runs_once(api, installation, forge, replicas):
    """Each head of a pull request runs once, a closing runs `onDelete` once, a fork only where forks are accepted."""
    made = Lifecycle(api, installation, forge, timeout_s=60)
    made.create({"command": ["true"]})
    replica = replicas(0)
    with Finisher(api, installation):
        made.hook(f"http://127.0.0.1:{replica.hooks}")
        made.walk()

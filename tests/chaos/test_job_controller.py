"""One trial with the real Job controller: its pods are ended, and it does everything else."""

import pytest

from tests.chaos import trial
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.servers import servers
from tests.cluster import binaries
from tests.cluster.finisher import PodFinisher
from tests.cluster.plane import WITH_JOBS


@pytest.mark.timeout(900)
def test_no_promise_is_broken_where_kubernetes_runs_the_jobs(tmp_path):
    """A leader that is killed, with Jobs that the controller starts, ends and keeps in its own time."""
    try:
        found = binaries.find()
    except binaries.Unavailable as missing:
        pytest.skip(str(missing))
    if found.controller_manager is None:
        pytest.skip("KUBEBUILDER_ASSETS has no kube-controller-manager")
    one = SCENARIOS["kill -9 of the leader"]
    with servers(tmp_path, controllers=WITH_JOBS) as (plane, api, git):
        result = trial.run(one, plane, api, git, tmp_path / "trial", replicas=2, seed="1", finisher=PodFinisher)
    assert result.found == []
    assert result.jobs > 4

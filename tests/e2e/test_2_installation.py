"""A fresh installation: probes, metrics, the lease, `helm test`, and what its images are."""

import re
import subprocess
from datetime import datetime

from tests.e2e import images, machine

_MEGABYTE = 1_000_000


def _at(text):
    return datetime.fromisoformat(text)


def test_two_replicas_are_ready_in_a_restricted_namespace(cluster, release):
    """Both serve; each was ready within seconds after its container started."""
    pods = cluster.replicas(release)
    assert len(pods) == 2
    for pod in pods:
        started = _at(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
        [ready] = [c for c in pod["status"]["conditions"] if c["type"] == "Ready"]
        assert ready["status"] == "True"
        seconds = (_at(ready["lastTransitionTime"]) - started).total_seconds()
        print(f"ready {seconds:.0f} s after the container's start (in whole seconds, probe included)")
        assert seconds < 30


def test_probes_and_metrics_are_on_the_utility_port(cluster, release):
    """Every replica is alive and ready; exactly one leads."""
    leading = 0
    for pod in cluster.replicas(release):
        address = pod["status"]["podIP"]
        for path in ("/alive", "/ready"):
            assert cluster.ask(address, 3000, path)[0] == 200
        status, text = cluster.ask(address, 3000, "/metrics")
        assert status == 200
        leading += "git_events_runner_leading 1.0" in text
    assert leading == 1


def test_helm_test_passes(cluster, release):
    """Its pod finds the webhook port by the Service's name."""
    shown = cluster.helm("test", "ger", "--namespace", release, "--timeout", "90s")
    assert "Succeeded" in shown


def test_the_images_hold_no_shell_no_package_manager_and_no_source(cluster):
    """Controller and cloner are an interpreter with bytecode; their sizes keep their limits."""
    for name, limit in (("controller", 130), ("cloner", 90)):
        found = images.files(cluster.archives[name])
        print(f"{name}: {sum(found.values()) / _MEGABYTE:.1f} MB unpacked")
        assert sum(found.values()) <= limit * _MEGABYTE
        paths = found.keys()
        assert not [path for path in paths if re.search(r"bin/(sh|bash|dash|busybox|apt.*|dpkg.*|pip.*)$", path)]
        assert not [path for path in paths if "/pip/" in path]
        assert not [path for path in paths if path.endswith(".py")]
        assert "etc/ssl/certs/ca-certificates.crt" in paths
        assert "usr/share/zoneinfo/Europe/Berlin" in paths


def test_the_controllers_image_is_a_command(cluster):
    """`run IMAGE crds` prints the CRDs, as the user that the image names, without a cluster."""
    image = f"{images.REGISTRY}/git-events-runner:1.0.0"
    program = machine.program("ctr")
    command = [
        program,
        "-a",
        f"{cluster.node.folder}/containerd.sock",
        "-n",
        "k8s.io",
        "run",
        "--rm",
        image,
        "e2e-crds",
    ]
    done = subprocess.run([*command, "/usr/bin/git-events-runner", "crds"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kind: CustomResourceDefinition") == 6

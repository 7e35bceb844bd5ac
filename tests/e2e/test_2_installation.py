"""A fresh installation: probes, metrics, the lease, `helm test`, and what its images are."""

import contextlib
import os
import re
import runpy
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from git_events_runner.settings import VERSION
from tests.cluster.plane import wait_until
from tests.e2e import images, machine
from tests.e2e.images import ROOT

_MEGABYTE = 1_000_000


def test_two_replicas_are_ready_in_a_restricted_namespace(cluster, release):
    """Both serve, under the pod security that the namespace enforces."""
    pods = cluster.replicas(release)
    assert len(pods) == 2
    for pod in pods:
        assert {c["type"]: c["status"] for c in pod["status"]["conditions"]}["Ready"] == "True"


def test_a_replaced_replica_is_ready_soon(cluster, release):
    """From the start of its process to its first `ready`; the figure is printed, the bound is for loaded machines."""
    before = {pod["metadata"]["name"] for pod in cluster.replicas(release)}
    old = _processes()
    cluster.api.delete(f"/api/v1/namespaces/{release}/pods/{min(before)}")

    def made():
        new = [pod for pod in cluster.replicas(release) if pod["metadata"]["name"] not in before]
        return new and new[0]["status"].get("podIP") and _processes() - old and new[0]

    pod = wait_until("the new replica's process", made, timeout_s=60, every_s=0.02)
    [process] = _processes() - old

    def ready():
        with contextlib.suppress(OSError):
            return cluster.ask(pod["status"]["podIP"], 3000, "/ready")[0] == 200

    wait_until("the new replica is ready", ready, timeout_s=30, every_s=0.02)
    seconds = float(Path("/proc/uptime").read_text().split()[0]) - _started_s(process)
    print(f"ready {seconds:.2f} s after the process's start")
    assert seconds < 15
    wait_until("it is in the Service", lambda: len(_ready(cluster, release)) == 2, timeout_s=60)


def _ready(cluster, release):
    pods = [pod for pod in cluster.replicas(release) if not pod["metadata"].get("deletionTimestamp")]
    return [p for p in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"])]


def _processes():
    """Ids of the controller's processes, as the host sees them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"/usr/bin/git-events-runner" in words and b"run" in words:
                found.add(int(folder.name))
    return found


def _started_s(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def test_every_webhook_is_answered_while_replicas_are_replaced(cluster, release):
    """A rolling restart refuses no connection: a pod that stops serves until nobody is sent to it any more."""
    path = f"/apis/apps/v1/namespaces/{release}/deployments/ger-git-events-runner"
    before = {pod["metadata"]["name"] for pod in cluster.replicas(release)}
    note = {"metadata": {"annotations": {"example.com/restarted": "now"}}}
    cluster.api.patch(path, {"spec": {"template": note}})
    answers = Counter()

    def replaced():
        try:
            answers[cluster.webhook(release, "/none/none")[0]] += 1
        except OSError as error:
            answers[str(error)] += 1
        return not before & {pod["metadata"]["name"] for pod in cluster.replicas(release)}

    wait_until("all replicas are new", replaced, timeout_s=120, every_s=0.02)
    assert answers.keys() == {404}, answers
    assert answers.total() > 100
    wait_until("both are in the Service", lambda: len(_ready(cluster, release)) == 2, timeout_s=60)


def test_probes_and_metrics_are_on_the_utility_port(cluster, release):
    """Every replica is alive and ready; exactly one leads."""
    addresses = [pod["status"]["podIP"] for pod in _ready(cluster, release)]
    assert len(addresses) == 2
    for address in addresses:
        assert cluster.ask(address, 3000, "/alive") == (200, "alive\n")
        assert cluster.ask(address, 3000, "/ready") == (200, "ready\n")

    def leading():
        shown = [cluster.ask(address, 3000, "/metrics") for address in addresses]
        assert all(status == 200 for status, _ in shown)
        return sum("git_events_runner_leading 1.0" in text for _, text in shown)

    wait_until("one leads", lambda: leading() == 1)


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


@pytest.mark.parametrize(("name", "requirements"), [("controller", "runtime"), ("cloner", "cloner")])
def test_the_bill_of_materials_names_every_package(cluster, tmp_path, name, requirements):
    """The Python packages are those of the requirements that the image keeps, and the distribution's are there."""
    found = images.sbom(name, VERSION, tmp_path)
    assert found["bomFormat"] == "CycloneDX"
    about = found["metadata"]["component"]
    assert (about["name"], about["version"]) == (f"{images.REGISTRY}/{images.NAMES[name]}", VERSION)
    labels = {one["name"].rpartition(".")[2]: one["value"] for one in found["metadata"]["properties"]}
    assert labels["version"] == VERSION
    assert re.fullmatch("[0-9a-f]{40}", labels["revision"])
    packages = {}
    for part in found["components"]:
        kind = re.match(r"pkg:(\w+)/", part.get("purl", ""))
        packages.setdefault(kind and kind[1], {})[part["name"].lower().replace("_", "-")] = part.get("version")
    pinned = re.findall(
        r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements" / f"{requirements}.txt").read_text(), re.MULTILINE
    )
    left_out = {
        package.replace("_", "-") for package in runpy.run_path(str(ROOT / "images/trim_apprise.py"))["PACKAGES"]
    }
    kept = {package.lower(): version for package, version in pinned if package.lower() not in left_out}
    assert packages["pypi"] == kept | {"git-events-runner": VERSION}
    assert {"ca-certificates", "libc6", "libssl3", "tzdata"} <= packages["deb"].keys()
    assert all(packages["deb"].values())


def test_the_controllers_image_is_a_command(cluster):
    """`run IMAGE crds` prints the CRDs, as the user that the image names, without a cluster."""
    image = f"{images.REGISTRY}/git-events-runner:{VERSION}"
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
    assert done.stdout.count("kind: CustomResourceDefinition") == len(list((ROOT / "manifests" / "crds").iterdir()))

"""One node: addresses and routes, containerd, scheduler, kubelet, kube-proxy, on a control plane of tests/cluster."""

import contextlib
import json
import signal
from pathlib import Path

import yaml

from tests.cluster.plane import ControlPlane, Process, free_port, wait_until
from tests.e2e import machine

ADDRESS = "10.251.77.1"
_PODS = "10.252.77.0/24"
_BRIDGE = "ger-node"
_PAUSE = "localhost/pause:1"
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_NETWORKS = Path("/var/run/netns")
_CHAIN = "GER-E2E"

_CONTAINERD = """
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""
_CNI = {
    "cniVersion": "0.4.0",
    "name": "ger",
    "plugins": [
        {
            # Every packet between two pods passes the host's tables, so Services need no filter on a bridge.
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": _PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "loopback"},
    ],
}


class Node:
    """A node named `node1`; what it changes on the machine is undone by `close`."""

    def __init__(self, binaries, folder):
        self.folder = folder
        self._box = binaries.box
        self._undo = contextlib.ExitStack()
        self._namespaces = set(_NETWORKS.glob("cni-*"))
        self._socket = f"{folder}/containerd.sock"
        try:
            self._network()
            self.plane = ControlPlane(binaries, folder, node_address=ADDRESS)
            self._undo.callback(self.plane.close)
            self._containerd = self._runtime()
            self._start(
                "scheduler",
                "kube-scheduler",
                "--leader-elect=false",
                "--secure-port",
                "0",
                kubeconfig="scheduler-token",
            )
            self._undo.callback(self._clean_rules)
            self._start(
                "kube-proxy",
                "kube-proxy",
                *("--proxy-mode", "iptables", "--conntrack-max-per-core", "0", "--cluster-cidr", _PODS),
                *("--healthz-bind-address", f"127.0.0.1:{free_port()}", "--hostname-override", "node1"),
                *("--metrics-bind-address", f"127.0.0.1:{free_port()}"),
                kubeconfig="proxy-token",
            )
        except BaseException:
            self.close()
            raise

    def join(self, api):
        """Start the kubelet and wait until pods may come."""
        certificate, key = self.plane.authority.issue("kubelet", ADDRESS)
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(self.plane.authority.path)},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "clusterDNS": [ADDRESS],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "failCgroupV1": False,
            "failSwapOn": False,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": free_port(),
            "imageGCHighThresholdPercent": 100,
            "makeIPTablesUtilChains": False,
            "podLogsDir": f"{self.folder}/pod-logs",
            "port": free_port(),
            "syncFrequency": "5s",
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
        }
        (self.folder / "kubelet.yaml").write_text(yaml.safe_dump(config))
        self._undo.callback(self._remove_leftovers)
        self._kubelet = self._start(
            "kubelet",
            "kubelet",
            *("--config", f"{self.folder}/kubelet.yaml", "--root-dir", f"{self.folder}/kubelet"),
            *("--hostname-override", "node1", "--node-ip", ADDRESS),
            kubeconfig="kubelet-token",
        )
        self._undo.callback(self._remove_pods, api)

        def ready():
            assert self._kubelet.running, self._kubelet.text()[-3000:]
            nodes = api.items("/api/v1/nodes")
            return nodes and any(
                c["type"] == "Ready" and c["status"] == "True" for c in nodes[0]["status"]["conditions"]
            )

        wait_until("the node is ready", ready, timeout_s=90, every_s=0.3)

    def load(self, archive):
        """Put the images of an archive into the node's store."""
        machine.run([machine.program("ctr"), "-a", self._socket, "-n", "k8s.io", "images", "import", str(archive)])

    def ctr(self, *arguments):
        """Output of ctr in the kubelet's namespace."""
        return machine.run([machine.program("ctr"), "-a", self._socket, "-n", "k8s.io", *arguments]).stdout

    def _start(self, name, component, *arguments, kubeconfig):
        config = str(self.plane.kubeconfig(kubeconfig))
        process = Process(
            [self._box, component, "--kubeconfig", config, *arguments], self.folder / f"{name}.log", env=_environment()
        )
        self._undo.callback(_end, process)
        return process

    def _network(self):
        before = _FORWARD.read_text()
        self._undo.callback(_FORWARD.write_text, before)
        _FORWARD.write_text("1")
        machine.run(["ip", "link", "delete", _BRIDGE], check=False)  # of a run that was killed
        machine.run(["ip", "link", "add", _BRIDGE, "type", "bridge"])
        self._undo.callback(machine.run, ["ip", "link", "delete", _BRIDGE], check=False)
        machine.run(["ip", "address", "add", f"{ADDRESS}/24", "dev", _BRIDGE])
        machine.run(["ip", "link", "set", _BRIDGE, "up"])
        for command in (
            ["-N", _CHAIN],
            ["-A", _CHAIN, "-s", _PODS, "-j", "ACCEPT"],
            ["-A", _CHAIN, "-d", _PODS, "-j", "ACCEPT"],
        ):
            machine.run(["iptables", "-w", *command], check=False)
        machine.run(["iptables", "-w", "-I", "FORWARD", "-j", _CHAIN])
        self._undo.callback(self._no_chain)

    def _no_chain(self):
        for command in (["-D", "FORWARD", "-j", _CHAIN], ["-F", _CHAIN], ["-X", _CHAIN]):
            machine.run(["iptables", "-w", *command], check=False)

    def _runtime(self):
        (self.folder / "cni").mkdir()
        (self.folder / "cni" / "10-ger.conflist").write_text(json.dumps(_CNI))
        (self.folder / "containerd.toml").write_text(_CONTAINERD.format(folder=self.folder))
        process = Process(
            [machine.program("containerd"), "--config", f"{self.folder}/containerd.toml"],
            self.folder / "containerd.log",
            env=_environment(),
        )
        self._undo.callback(_end, process)
        wait_until("containerd listens", Path(self._socket).exists, timeout_s=30)
        return process

    def _remove_pods(self, api):
        """While the kubelet works: it takes down containers, networks and mounts of every pod."""
        self.plane.stop_controllers()
        now = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 1}
        for pod in api.items("/api/v1/pods"):
            metadata = pod["metadata"]
            with contextlib.suppress(Exception):
                api.call("DELETE", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", now)
        with contextlib.suppress(AssertionError):
            wait_until("no pod runs", lambda: not self.ctr("tasks", "ls", "-q").split(), timeout_s=30, every_s=0.3)

    def _remove_leftovers(self):
        """After the kubelet: what it did not take down."""
        for name in self.ctr("tasks", "ls", "-q").split():
            machine.run(
                [machine.program("ctr"), "-a", self._socket, "-n", "k8s.io", "tasks", "delete", "-f", name], check=False
            )
        for network in set(_NETWORKS.glob("cni-*")) - self._namespaces:
            machine.run(["umount", str(network)], check=False)
            network.unlink(missing_ok=True)
        for folder in sorted(Path("/sys/fs/cgroup").glob("**/kubepods/**/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _clean_rules(self):
        """What kube-proxy wrote; there was none before (`machine.lacks`)."""
        machine.run([self._box, "kube-proxy", "--cleanup"], check=False, timeout_s=60)
        for table in ("filter", "nat", "mangle"):
            rules = [line.split() for line in machine.run(["iptables", "-w", "-t", table, "-S"]).stdout.splitlines()]
            chains = [words[1] for words in rules if words[0] == "-N" and words[1].startswith("KUBE-")]
            jumps = [words[1] for words in rules if words[0] == "-A" and words[-1] in chains and words[1] not in chains]
            for rule in [words for words in rules if words[0] == "-A" and words[-1] in chains and words[1] in jumps]:
                machine.run(["iptables", "-w", "-t", table, "-D", *rule[1:]], check=False)
            for flag in ("-F", "-X"):
                for chain in chains:
                    machine.run(["iptables", "-w", "-t", table, flag, chain], check=False)

    def close(self):
        """Undo everything, last first."""
        self._undo.close()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if f" {self.folder}/" in line:
                machine.run(["umount", "-l", line.split()[1]], check=False)
        for name in ("containerd", "containerd-state", "kubelet"):
            machine.run(["rm", "-rf", str(self.folder / name)], check=False)


def _environment():
    import os

    return {"PATH": machine.PATH, "HOME": os.environ.get("HOME", "/root")}


def _end(process):
    if process.running:
        process.send(signal.SIGTERM)
        with contextlib.suppress(Exception):
            process.wait(10)
        if process.running:
            process.kill()

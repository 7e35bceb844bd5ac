"""The control plane: etcd and kube-apiserver as processes, stopped by the ids noted when they were started."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import yaml

from tests.cluster.certificates import Authority, signing_key

_READY_S = 90
_CONTROLLERS = "garbage-collector-controller,namespace-controller,resourcequota-controller"
WITH_JOBS = f"{_CONTROLLERS},job-controller,serviceaccount-controller,ttl-after-finished-controller"


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS_EACH = 1000
_PORTS = itertools.cycle(random.sample(range(20_000 + _PORTS_EACH * _WORKER, 21_000 + _PORTS_EACH * _WORKER), 1000))


def free_port():
    """A TCP port that nobody uses just now: of this worker's own thousand, and below those of outgoing connections.

    So a server that is killed and started again finds its port free, whatever others connect to meanwhile.
    """
    for port in itertools.islice(_PORTS, _PORTS_EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def wait_until(what, condition, *, timeout_s=30.0, every_s=0.05):
    """Return the first true value of `condition()`; fail naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)


class Process:
    """A program in its own process group, with its output in a file."""

    def __init__(self, command, log, *, env=None, cwd=None):
        self.log = log
        self._command, self._env, self._cwd = command, env, cwd
        self.start()

    def start(self, *, stdout=None):
        """Start it (again); `stdout` is a descriptor for its standard output alone."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                stdout=out if stdout is None else stdout,
                stderr=subprocess.STDOUT if stdout is None else out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._env,
                cwd=self._cwd,
            )
        self.pid = self._process.pid

    @property
    def running(self):
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, number):
        """Send a signal to its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, timeout_s=30):
        """Its exit code."""
        return self._process.wait(timeout_s)

    def kill(self):
        """End it at once."""
        self.send(signal.SIGKILL)
        self._process.wait(10)

    def stop(self, timeout_s=15):
        """End it cleanly, by force if it does not."""
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def text(self):
        """What it has printed so far."""
        return self.log.read_text(errors="replace")


# What the replicas asked for, and which role allowed it.
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [f"replica-{n}" for n in range(4)]}, {"level": "None"}],
}


class ControlPlane:
    """A running API server; `kubeconfig(token)` writes the file with which a program reaches it.

    With `node_address` (of this machine) it serves there, reaches kubelets, runs every controller: what a node needs.
    `controllers` are the names of those to run without a node.
    """

    def __init__(self, binaries, folder, *, controllers=_CONTROLLERS, node_address=None):
        self.folder = folder
        self.authority = Authority(folder / "pki")
        self.host = node_address or "127.0.0.1"
        certificate, key = self.authority.issue("kube-apiserver", self.host)
        self.account_key = account_key = signing_key(folder / "pki" / "sa.key")
        self.port = free_port()
        self.url = f"https://{self.host}:{self.port}"
        self.admin_token = "admin-token"
        self._tokens = folder / "tokens.csv"
        users = ['admin-token,admin,admin,"system:masters"', 'manager-token,manager,manager,"system:masters"']
        users += [f"replica-{n}-token,replica-{n},replica-{n}" for n in range(4)]
        users.append("tenant-token,tenant,tenant")
        users += [
            "scheduler-token,system:kube-scheduler,scheduler",
            'kubelet-token,system:node:node1,kubelet,"system:nodes"',
            "proxy-token,system:kube-proxy,proxy",
        ]
        self._tokens.write_text("\n".join(users) + "\n")
        audit = folder / "audit.yaml"
        audit.write_text(yaml.safe_dump(_AUDIT))
        etcd_port = free_port()
        self.etcd = Process(
            [
                *binaries.etcd,
                *("--data-dir", str(folder / "etcd"), "--unsafe-no-fsync"),
                *("--listen-client-urls", f"http://127.0.0.1:{etcd_port}"),
                *("--advertise-client-urls", f"http://127.0.0.1:{etcd_port}"),
                *("--listen-peer-urls", "http://127.0.0.1:0"),
            ],
            folder / "etcd.log",
        )
        self.apiserver = Process(
            [
                *binaries.apiserver,
                *("--etcd-servers", f"http://127.0.0.1:{etcd_port}"),
                *("--secure-port", str(self.port), "--bind-address", self.host),
                *("--tls-cert-file", str(certificate), "--tls-private-key-file", str(key)),
                *("--client-ca-file", str(self.authority.path), "--token-auth-file", str(self._tokens)),
                *("--authorization-mode", "Node,RBAC"),
                *("--service-account-key-file", str(account_key)),
                *("--service-account-signing-key-file", str(account_key)),
                *("--service-account-issuer", "https://kubernetes.default.svc"),
                *("--service-cluster-ip-range", "10.96.0.0/24", "--allow-privileged"),
                *("--audit-policy-file", str(audit), "--audit-log-path", str(folder / "audit.log")),
                # An address kept for documentation: without one it looks for a default route, which may be missing.
                *(self._towards_kubelets() if node_address else ("--advertise-address", "192.0.2.1")),
            ],
            folder / "apiserver.log",
        )
        self._manager = None
        try:
            self.wait_ready()
            if controllers and binaries.controller_manager:
                self._manager = Process(
                    [
                        *binaries.controller_manager,
                        *("--kubeconfig", str(self.kubeconfig("manager-token"))),
                        *("--leader-elect=false", "--secure-port", "0"),
                        *("--controllers", "*" if node_address else controllers),
                        *("--service-account-private-key-file", str(account_key)),
                        *("--root-ca-file", str(self.authority.path)),
                    ],
                    folder / "manager.log",
                )
        except BaseException:
            self.close()
            raise

    def _towards_kubelets(self):
        certificate, key = self.authority.issue("kubelet-client")
        return [
            *("--advertise-address", self.host, "--kubelet-preferred-address-types", "InternalIP"),
            *("--kubelet-client-certificate", str(certificate), "--kubelet-client-key", str(key)),
        ]

    def wait_ready(self):
        """Return when the API server serves."""
        context = ssl.create_default_context(cafile=str(self.authority.path))
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.admin_token}"})

        def ready():
            if not self.apiserver.running or not self.etcd.running:
                raise AssertionError(f"the control plane ended: {self.apiserver.text()[-2000:]}")
            try:
                with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                    return answer.read() == b"ok"
            except (urllib.error.URLError, OSError):
                return False

        wait_until("the API server is ready", ready, timeout_s=_READY_S, every_s=0.2)

    def kubeconfig(self, token, *, server=None, authority=None, namespace="default"):
        """Path of a kubeconfig for a token; `server` may be a proxy before the API server."""
        path = self.folder / f"kubeconfig-{token}-{len(list(self.folder.glob('kubeconfig-*')))}"
        cluster = {"server": server or self.url, "certificate-authority": str(authority or self.authority.path)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def audited(self):
        """Requests of replicas so far, as audit events."""
        log = self.folder / "audit.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def back_up(self):
        """Keep what etcd has now: the API server is away meanwhile."""
        self._stop_storage()
        shutil.copytree(self.folder / "etcd", self.folder / "etcd-backup")
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()

    def restore(self):
        """Put back what was kept, as an operator does it: API server and etcd stopped, their clients not."""
        self._stop_storage()
        shutil.rmtree(self.folder / "etcd")
        shutil.copytree(self.folder / "etcd-backup", self.folder / "etcd")
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()

    def _stop_storage(self):
        self.apiserver.kill()
        self.etcd.stop()

    def stop_controllers(self):
        """Let nothing be made anew."""
        if self._manager is not None and self._manager.running:
            self._manager.kill()

    def close(self):
        """Stop the processes."""
        for process in (self._manager, self.apiserver, self.etcd):
            if process is not None and process.running:
                process.kill()

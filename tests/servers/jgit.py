"""An implementation of git's protocol that is not git: JGit in Jetty (HTTP, HTTPS) and in Apache MINA SSHD (SSH)."""

import fcntl
import hashlib
import itertools
import os
import shutil
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.cluster.certificates import Authority
from tests.cluster.plane import Process, free_port, wait_until
from tests.servers.git import Repository, Unavailable

SOURCES = Path(__file__).parent / "jgit_build"


def build():
    """Folder with the server's classes and jars, from the cache folder or built into it by Maven (seconds)."""
    missing = [name for name in ("java", "javac", "mvn") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)} (for JGit)")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(SOURCES.iterdir()))).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner"
    made = cache / f"jgit-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "jgit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            work = cache / f"jgit-{digest}.new"
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(SOURCES, work)
            goals = ["compile", "dependency:copy-dependencies", "-DincludeScope=runtime"]
            done = subprocess.run(
                ["mvn", "-q", "-B", *goals],
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise Unavailable(f"JGit, which could not be built: {(done.stdout + done.stderr).strip()[-500:]}")
            work.rename(made)
    return made / "target"


class JGitServer:
    """JGit over `url`, `tls_url` (certificate by `authority`) and SSH; each also under /slow with 50 ms of delay.

    SSH: port `ssh_port`, any user name, keys by `allow_key`, host key `host_key` as a line of authorized_keys.
    """

    def __init__(self, folder):
        target = build()
        self.folder = folder
        (folder / "repositories").mkdir(parents=True)
        self._names = itertools.count()
        self.port, self.tls_port, self.ssh_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"
        self.authority = Authority(folder / "pki")
        self._authorized = folder / "authorized_keys"
        self._authorized.touch(mode=0o600)
        host = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        (folder / "host_key").write_bytes(host.private_bytes(serialization.Encoding.PEM, *form))
        form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        self.host_key = host.public_key().public_bytes(*form).decode()
        arguments = [folder / "repositories", self.port, self.tls_port, self._keystore(), self.ssh_port]
        arguments += [folder / "host_key", self._authorized]
        classes = f"{target / 'classes'}:{target / 'dependency'}/*"
        options = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Duser.home={folder}"]
        self._process = Process(
            [shutil.which("java"), *options, "-cp", classes, "GitServer", *map(str, arguments)],
            folder / "jgit.log",
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"},
        )
        wait_until("JGit serves", self._ready, timeout_s=60)

    @property
    def pid(self):
        """Of the server's process."""
        return self._process.pid

    def _ready(self):
        assert self._process.running, self._process.text()[-3000:]
        return "ready" in self._process.text()

    def _keystore(self):
        certificate, key = self.authority.issue("jgit")
        password = serialization.BestAvailableEncryption(b"test")
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        public = x509.load_pem_x509_certificate(certificate.read_bytes())
        path = self.folder / "jgit.p12"
        path.write_bytes(pkcs12.serialize_key_and_certificates(b"jgit", private, public, None, password))
        return path

    def allow_key(self, public):
        """Accept a public key (a line of authorized_keys) from now on."""
        with self._authorized.open("a") as file:
            file.write(public.rstrip("\n") + "\n")

    def repository(self):
        """A new bare repository without a commit; `url`, and its `path` for the other ways to it."""
        return Repository(self, f"r{next(self._names)}")

    def close(self):
        """Stop it."""
        self._process.kill()

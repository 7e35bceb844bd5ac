"""OpenSSH's sshd with git, on a port of its own, with its own configuration, keys and one user: whoever runs it."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tests.cluster.plane import Process, free_port, wait_until

TYPES = ("ed25519", "ecdsa", "rsa")
_CONFIG = """
Port {port}
ListenAddress {host}
PidFile none
{host_keys}
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
PrintMotd no
LogLevel VERBOSE
MaxStartups 100
# What the user's shell would read at its start may take any time.
SetEnv HOME={folder}
{extra}
"""


class Unavailable(Exception):
    """sshd is not installed."""


def keygen(path: Path, kind: str = "ed25519", *, passphrase: str = "", form: str | None = None) -> Path:
    """A new key pair; gives the private key's path."""
    options = ["-b", "2048"] if kind == "rsa" else []
    options += ["-m", form] if form else []
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path), *options]
    subprocess.run(command, check=True, capture_output=True)
    return path


def public(path: Path) -> str:
    """The public key beside a private one, as `type base64`."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


class Sshd:
    """A server for every repository of this machine; `restart` takes other host keys or lines of configuration."""

    def __init__(
        self, folder: Path, *, types=TYPES, extra: str = "AcceptEnv GIT_PROTOCOL", host: str = "127.0.0.1"
    ) -> None:
        self._sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if self._sshd is None:
            raise Unavailable("openssh-server is not installed (Debian: apt-get install openssh-server)")
        folder.mkdir(parents=True, exist_ok=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        self.folder = folder
        self.host, self.port = host, free_port()
        self.user = getpass.getuser()
        self.key = keygen(folder / "client")
        (folder / "authorized_keys").write_text(public(self.key) + "\n")
        self._process: Process | None = None
        self._starts = 0
        self.host_keys: dict[str, Path] = {}
        for kind in TYPES:
            self.new_host_key(kind)
        self.restart(types=types, extra=extra)

    def new_host_key(self, kind: str) -> None:
        """Make another key of a type; it is shown from the next start on."""
        self.host_keys[kind] = keygen(self.folder / f"host-{kind}-{len(list(self.folder.iterdir()))}", kind)

    def restart(self, *, types=TYPES, extra: str = "AcceptEnv GIT_PROTOCOL") -> None:
        """Start it (again) with these types of host keys."""
        self.close()
        keys = "\n".join(f"HostKey {self.host_keys[kind]}" for kind in types)
        config = self.folder / "sshd_config"
        config.write_text(
            _CONFIG.format(host=self.host, port=self.port, folder=self.folder, host_keys=keys, extra=extra)
        )
        self._starts += 1
        log = self.folder / f"sshd-{self._starts}.log"
        self._process = Process([self._sshd, "-D", "-e", "-f", str(config)], log)
        wait_until("sshd listens", lambda: "listening on" in self._process.text())

    @property
    def place(self) -> str:
        """Its name in known hosts."""
        return f"[{self.host}]:{self.port}"

    def line(self, kind: str = "ed25519") -> str:
        """One of its keys, as a line of known hosts."""
        return f"{self.place} {public(self.host_keys[kind])}"

    def url(self, path: Path | str) -> str:
        """The URL of a repository."""
        return f"ssh://{self.user}@{self.host}:{self.port}{path}"

    @property
    def logins(self) -> int:
        """Accepted logins since the last start."""
        return len(re.findall(r"^Accepted publickey", self._process.text(), re.MULTILINE))

    @property
    def commands(self) -> int:
        """Commands run since the last start."""
        return len(re.findall(r"^Starting session: command", self._process.text(), re.MULTILINE))

    def close(self) -> None:
        """End it, and the connections it serves (they are in sessions of their own)."""
        if self._process is not None and self._process.running:
            ours = _below(self._process.pid)
            self._process.kill()
            for pid in ours:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process = None


def _below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children = [int(child) for child in task.read_text().split()]
            found += children
            for child in children:
                found += _below(child)
    return found

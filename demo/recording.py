"""`make recording`: types a session into a terminal and writes what it shows as docs/recordings/demo.cast.

The file has the format of asciinema, version 2: one line of JSON with the size, then [seconds, "o", text] per line. The
output is real; the speed of the typing is not, and silence is shortened to `_SILENCE_S`.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
CAST = ROOT / "docs" / "recordings" / "demo.cast"
WIDTH, HEIGHT = 100, 30
_KEY_S, _READ_S, _SILENCE_S = 0.05, 6.0, 2.0
_PATIENCE_S = 300
_PROMPT = "\x1b[1;32m$\x1b[0m "
_SESSION = (
    ("# A trigger, its source and its Action: a few lines each.", ""),
    ("sed -n '8,45p' manifests/examples/site.yaml", ""),
    ("# The same controller as in a cluster runs them here.", ""),
    ("make demo", ""),
    ("# Now with a push of our own.", ""),
    ("make play >play.log &", "until grep -q succeeded play.log; do sleep 0.2; done"),
    ("git clone -q http://127.0.0.1:8418/site.git site && cd site", ""),
    ("echo 'A sentence of mine.' >>README.md && git commit -qam 'Add a sentence' && git push -q", ""),
    ("sleep 8; tail -n 5 ../play.log", ""),
    ("# Next: docs/tutorials/first-trigger.md, on a cluster.", ""),
)


@dataclass(slots=True)
class Cast:
    """The events of a recording; time stops while nothing is shown for long."""

    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def show(self, text: str, *, after_s: float) -> None:
        """Add text that appears some seconds after the last one."""
        self.seconds += min(after_s, _SILENCE_S)
        self.lines.append(json.dumps([round(self.seconds, 3), "o", text], ensure_ascii=False))

    def type(self, command: str) -> None:
        """Add a command as it is typed."""
        for key in command:
            self.show(key, after_s=_KEY_S)
        self.show("\r\n", after_s=0.4)

    def wait(self, seconds: float) -> None:
        """Leave time to read."""
        self.seconds += seconds


def record() -> Cast:
    """Run the session; its cast."""
    cast = Cast()
    with tempfile.TemporaryDirectory(prefix="git-events-runner-recording-") as folder:
        for name in ("Makefile", "manifests", "demo", "git_events_runner", ".venv", "pyproject.toml", "requirements"):
            (Path(folder) / name).symlink_to(ROOT / name)
        shell = _Shell(Path(folder))
        try:
            for command, before_next in _SESSION:
                cast.show(_PROMPT, after_s=0.3)
                cast.type(command)
                shell.run(command, cast)
                if before_next:
                    shell.run(before_next, Cast())
                cast.wait(_READ_S)
        finally:
            shell.close()
    return cast


class _Shell:
    """A shell on a terminal; a command has ended when it prints a mark."""

    _MARK = "\x1b]7;end\x07"

    def __init__(self, folder: Path) -> None:
        identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _IDENTITY}
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self._terminal, inner = pty.openpty()
        os.set_blocking(self._terminal, False)
        _set_size(inner)
        bash = shutil.which("bash") or "bash"
        command = [bash, "--norc", "--noprofile", "+m"]
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | identity,
            stdin=subprocess.PIPE,
            stdout=inner,
            stderr=inner,
            text=True,
        )
        os.close(inner)

    def run(self, command: str, cast: Cast) -> None:
        """Run a command; what it prints is added with its own times."""
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.write(f"{command}\nprintf '\\033]7;end\\007'\n")
        self._process.stdin.flush()
        last, ended = time.monotonic(), False
        while not ended:
            select.select([self._terminal], [], [], _PATIENCE_S)
            text = os.read(self._terminal, 65536).decode(errors="replace")
            ended = self._MARK in text
            now = time.monotonic()
            if text := text.replace(self._MARK, ""):
                cast.show(text, after_s=now - last)
                last = now

    def close(self) -> None:
        """End the shell and what it started."""
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.write("kill $!; wait; exit\n")
        self._process.stdin.close()
        self._process.wait(_PATIENCE_S)
        os.close(self._terminal)


_IDENTITY = (("NAME", "You"), ("EMAIL", "you@example.com"))


def _set_size(terminal: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))


def main() -> int:
    """Write the cast."""
    cast = record()
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": "git-events-runner: make demo, make play"}
    CAST.write_text("\n".join([json.dumps(header), *cast.lines]) + "\n", encoding="utf-8")
    sys.stdout.write(f"{CAST.relative_to(ROOT)}: {cast.seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

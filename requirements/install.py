"""Install a file of pinned, hashed requirements into this Python's environment, and show how far it is.

The Makefile runs it with the Python of a new virtual environment, so it uses the standard library alone. On a terminal
one line counts the packages; elsewhere one line is printed when all are installed. An error prints what pip wrote.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

_PIN = re.compile(r"^[A-Za-z0-9][\w.-]*(?:\[[\w,-]+\])?==", re.MULTILINE)
_SHOWN_OF_ERROR = 15


def main(file: Path) -> int:
    """Install; the exit code of pip."""
    total = len(_PIN.findall(file.read_text(encoding="utf-8")))
    options = ("--disable-pip-version-check", "--progress-bar", "off", "--require-hashes")
    command = [sys.executable, "-m", "pip", "install", *options, "-r", str(file)]
    started, count, lines = time.monotonic(), 0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            count += line.startswith(("Collecting ", "Requirement already satisfied: "))
            doing = "install" if line.startswith("Installing") else "download"
            _show(f"  {file}: {doing} {min(count, total)} of {total} packages")
    if process.returncode:
        _show("")
        sys.stderr.writelines(lines[-_SHOWN_OF_ERROR:])
        return process.returncode
    _show("")
    sys.stdout.write(f"  {file}: {total} packages, {time.monotonic() - started:.0f} s\n")
    return 0


def _show(text: str) -> None:
    """Replace the line on a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[2K{text}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

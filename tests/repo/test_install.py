"""The installation of pinned requirements, as `make setup` runs it, reports what it does."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(file):
    """The process that installed a file of requirements without any index."""
    command = [sys.executable, ROOT / "requirements/install.py", file]
    environment = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null", "PATH": "/usr/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_counts_the_packages(tmp_path):
    """One line with the file, how many packages it pins, and the seconds."""
    file = tmp_path / "few.txt"
    file.write_text("# none\n")
    done = install(file)
    assert done.returncode == 0
    assert done.stdout == f"  {file}: 0 packages, {done.stdout.split()[-2]} s\n"


def test_an_error_shows_what_pip_wrote(tmp_path):
    """A package that cannot be found is named, and the exit code is pip's."""
    file = tmp_path / "missing.txt"
    file.write_text(f"no-such-package-of-ours==1.0 --hash=sha256:{'0' * 64}\n")
    done = install(file)
    assert done.returncode == 1
    assert "no-such-package-of-ours==1.0" in done.stderr

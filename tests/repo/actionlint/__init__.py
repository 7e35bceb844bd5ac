"""The linter actionlint, built from its pinned Go module once and cached outside of the repository."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

_MODULE = Path(__file__).parent
_PACKAGE = "github.com/rhysd/actionlint/cmd/actionlint"


def build():
    """The program, or None on a machine without Go."""
    go = shutil.which("go")
    if go is None:
        return None
    digest = hashlib.sha256((_MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner"
    program = cache / f"actionlint-{digest}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = cache / f"actionlint-{digest}.{os.getpid()}"
        command = [go, "build", "-trimpath", "-o", new, _PACKAGE]
        subprocess.run(command, cwd=_MODULE, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
        new.rename(program)
    return program

"""What the verbs for operators and the status page cost those who use neither; `python -m benchmarks.image [COMMIT]`.

Compares the present commit with one before (unset: the last one without them) by what a controller's image contains of
ours and of libraries, as `Dockerfile.controller` installs it, and by the resident memory of an idle replica on a real
API server. No container engine is needed: interpreter, system libraries, CAs and time zones are the same in both images
and left out. pip downloads the libraries; the builds are in a temporary folder.
"""

import importlib.util
import io
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.world import World
from tests.cluster.plane import wait_until

_ROOT = Path(__file__).parents[1]
_BEFORE = "56a48658~1"
_ROUNDS, _IDLE_S = 3, 15
_PARTS = ("git_events_runner/cli", "git_events_runner/flow/ui", "jinja2", "markupsafe", "shtab.pyc")


def tree(commit, folder):
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=_ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def installed(commit, folder):
    """The packages of a commit as its image has them: bytecode alone, stripped libraries."""
    source, site = tree(commit, folder / "tree"), folder / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    requirements = source / "requirements/runtime.txt"
    subprocess.run([*pip, "--require-hashes", "--target", site, "-r", requirements], check=True)
    own = ["--no-deps", "--no-build-isolation", "--upgrade", "--target", site, source]
    subprocess.run([*pip, *own], check=True)
    for unused in (
        "kubernetes_asyncio/client/api",
        "kubernetes_asyncio/client/models",
        "git_events_runner/cloner",
    ):
        shutil.rmtree(site / unused)
    if (trim := source / "images/trim_apprise.py").exists():
        subprocess.run([sys.executable, trim, site], check=True)
    return assembled(site, folder / "image")


def assembled(site, root):
    """What `images/assemble.py` leaves of the packages."""
    found = importlib.util.spec_from_file_location("assemble", _ROOT / "images/assemble.py")
    assemble = importlib.util.module_from_spec(found)
    found.loader.exec_module(assemble)
    shutil.copytree(site, root, ignore=shutil.ignore_patterns(*assemble.UNREAD), symlinks=True)
    assemble.bytecode(root)
    libraries = [path for path in root.rglob("*.so*") if path.is_file()]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)
    return root


def sizes(root):
    """Bytes by top-level package; those of this project by its packages."""
    found = Counter()
    for path in root.rglob("*"):
        if path.is_file():
            parts = path.relative_to(root).parts
            found["/".join(parts[:2] if parts[0] == "git_events_runner" and len(parts) > 2 else parts[:1])] += (
                path.stat().st_size
            )
    return found


def part_bytes(root, name):
    """Bytes of a file or folder."""
    path = root / name
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())


def idle_mib(world, root, *options):
    """Resident memory of a replica that is the leader and has nothing to do."""
    environment = {"PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}
    replica = world.replica(world.namespace(), 0, *options, environment=environment)
    wait_until("it is the leader", lambda: replica.leads)
    time.sleep(_IDLE_S)
    found = replica.rss_mib()
    replica.process.stop()
    return found


def main():
    """Print both comparisons."""
    commit = sys.argv[1] if len(sys.argv) > 1 else _BEFORE
    with tempfile.TemporaryDirectory() as temporary, World() as world:
        before = installed(commit, Path(temporary, "before"))
        now = installed("HEAD", Path(temporary, "now"))
        old, new = sizes(before), sizes(now)
        total = sum(new.values()) - sum(old.values())
        print(f"packages in the image: {sum(old.values()) / 1e6:.1f} MB at {commit}, {sum(new.values()) / 1e6:.1f} MB")
        print(f"growth: {total / 1e6:.1f} MB")
        for name in sorted(new | old, key=lambda each: old[each] - new[each])[:12]:
            print(f"  {name}: {(new[name] - old[name]) / 1e6:+.2f} MB")
        for name in _PARTS:
            print(f"of the verbs and the page: {name} {part_bytes(now, name) / 1e6:.2f} MB")
        ways = {f"at {commit}": (before,), "page off": (now,), "page on": (now, "--ui", "on")}
        measured = {name: [] for name in ways}
        for _ in range(_ROUNDS):
            for name, way in ways.items():
                measured[name].append(idle_mib(world, *way))
        for name, found in measured.items():
            each = ", ".join(f"{one:.1f}" for one in found)
            print(f"idle memory, {name}: {statistics.median(found):.1f} MiB ({each})")


if __name__ == "__main__":
    main()

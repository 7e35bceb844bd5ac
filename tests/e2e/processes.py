"""Processes in containers, as the host sees them: folders of /proc."""

import contextlib
from pathlib import Path

# What the runtime mounts into every container.
_RUNTIME = ("/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def processes(*wanted):
    """Those whose command line has all these words (of a path, the last part)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if {*wanted} <= {word.rpartition("/")[2] if word.startswith("/") else word for word in words}:
                found.append(folder)
    return found


def process(*wanted):
    """The one of them that is in a container, or None."""
    host = Path("/proc/self/ns/mnt").readlink()
    inside = [folder for folder in processes(*wanted) if (folder / "ns" / "mnt").readlink() != host]
    return inside[0] if inside else None


def mounted(folder):
    """Where a container has something mounted that its runtime does not mount everywhere."""
    places = {line.split()[4] for line in (folder / "mountinfo").read_text().splitlines()} - {"/"}
    return {place for place in places if not place.startswith(_RUNTIME)}


def contents(folder):
    """What the files there hold."""
    for place in sorted(mounted(folder)):
        for path in (folder / "root" / place.lstrip("/")).rglob("*"):
            if path.is_file():
                yield path.read_bytes()


def of_pod(uid):
    """Those in the control groups of a pod."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if uid in (folder / "cgroup").read_text():
                found.append(folder)
    return found

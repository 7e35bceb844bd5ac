"""What a machine needs to be a node, and what it lacks."""

import os
import shutil
import subprocess
from pathlib import Path

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
PLUGINS = Path("/usr/lib/cni")
# program → Debian package
_PROGRAMS = {
    "buildah": "buildah",
    "containerd": "containerd",
    "conntrack": "conntrack",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "git": "git",
    "go": "golang",
    "ip": "iproute2",
    "iptables": "iptables",
    "runc": "runc",
}


def lacks():
    """Why this machine cannot be a node, in words; empty when it can."""
    if os.geteuid() != 0:
        return "a node needs root"
    missing = sorted({package for name, package in _PROGRAMS.items() if program(name) is None})
    if not (PLUGINS / "ptp").exists():
        missing.append("containernetworking-plugins")
    if missing:
        return f"not installed: {', '.join(missing)}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlay file system"
    for what, command in (
        ("virtual network devices", ["ip", "link", "add", "ger-probe", "type", "veth", "peer", "name", "ger-probe2"]),
        ("network address translation", ["iptables", "-t", "nat", "-L", "-n"]),
    ):
        if run(command, check=False).returncode:
            return f"the kernel has no {what}"
    run(["ip", "link", "delete", "ger-probe"], check=False)
    if "KUBE-" in run(["iptables", "-w", "-t", "nat", "-S"]).stdout:
        return "there is a node on this machine already"
    return ""


def program(name):
    """Where a program is; None when it is not installed."""
    return shutil.which(name, path=PATH)


def run(command, *, check=True, timeout_s=900, **more):
    """Run a program to its end, and fail with what it said."""
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "PATH": PATH, **more.pop("env", {})},
        **more,
    )
    assert not check or done.returncode == 0, (
        f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done

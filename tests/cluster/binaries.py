"""Where etcd, kube-apiserver and kube-controller-manager come from: KUBEBUILDER_ASSETS, or kubebox built here once."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "kubebox"
KUBERNETES = "1.34.4"


class Unavailable(Exception):
    """The API server cannot be had on this machine; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """Command lines (first words) of the programs; None for one that this machine does not have.

    `box` is the binary that is all of Kubernetes, chosen by the first argument.
    """

    etcd: list[str]
    apiserver: list[str]
    controller_manager: list[str] | None
    box: str | None = None


def find():
    """The programs, building kubebox if needed (about five minutes the first time, once for each version)."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        folder = Path(assets)
        missing = [name for name in ("etcd", "kube-apiserver") if not (folder / name).exists()]
        if missing:
            raise Unavailable(f"KUBEBUILDER_ASSETS={assets} has no {', '.join(missing)}")
        return Binaries(etcd=[f"{folder}/etcd"], apiserver=[f"{folder}/kube-apiserver"], controller_manager=None)
    box = str(build())
    return Binaries(
        etcd=[box, "etcd"],
        apiserver=[box, "kube-apiserver"],
        controller_manager=[box, "kube-controller-manager"],
        box=box,
    )


def build():
    """The kubebox binary, from the cache folder or built into it; its name bears a digest of its sources."""
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(SOURCES.iterdir()) if p.is_file())).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner"
    binary = cache / f"kubebox-{KUBERNETES}-{digest}"
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        raise Unavailable("neither Go (to build a kube-apiserver) nor KUBEBUILDER_ASSETS is there")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kubebox.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.exists():
            return binary
        major, minor, _ = KUBERNETES.split(".")
        version = "k8s.io/component-base/version"
        flags = (
            f"-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
        )
        made = subprocess.run(
            [go, "build", "-trimpath", "-ldflags", flags, "-o", f"{binary}.new", "."],
            cwd=SOURCES,
            env=os.environ | {"CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise Unavailable(f"kubebox could not be built: {made.stderr.strip()[-500:]}")
        Path(f"{binary}.new").rename(binary)
    return binary

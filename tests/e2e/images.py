"""The images of this checkout, built on a base made by debootstrap, kept as archives by their content."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

from tests.e2e import machine

ROOT = Path(__file__).parents[2]
REGISTRY = "localhost/git-events-runner"
NAMES = {"controller": "git-events-runner", "cloner": "gitrepo-cloner", "worker": "action-worker"}
_SUITE = "bookworm"
_BASE = "localhost/e2e-base:1"
# What each is built from.
_SCRIPTS = ("images/build.sh", "images/names.sh")
_PROGRAM = ("git_events_runner", "images/assemble.py", "requirements", "pyproject.toml", "README.md", "LICENSE")
_CONTEXT = {
    "controller": (*_SCRIPTS, *_PROGRAM),
    "cloner": (*_SCRIPTS, *_PROGRAM),
    "worker": (*_SCRIPTS, "images/tools", "images/aws-cli.asc", "images/aws-cli.sh"),
}


def cache():
    """Folder of what may be thrown away, outside of the checkout."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(version):
    """Archives of the three images and of the pause image, by name; what was built before is not built again."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        archives = {name: _archive(name, version) for name in NAMES}
        archives["pause"] = _pause()
    return archives


def files(archive):
    """The files of an image's layers: path → size in bytes."""
    found = {}
    with tarfile.open(archive) as image:
        for layer in json.load(image.extractfile("manifest.json"))[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as tar:
                found |= {member.name.removeprefix("./"): member.size for member in tar if not member.isdir()}
    return found


def _digest(*paths):
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode & 0o111}\0".encode())
                digest.update(file.read_bytes())
    return digest


def _archive(name, version):
    """Build one image unless its archive is there; archives of other contents go."""
    digest = _digest(ROOT / f"Dockerfile.{name}", *(ROOT / place for place in _CONTEXT[name]))
    digest.update(f"{_SUITE} {version}".encode())
    archive = cache() / f"{name}-{digest.hexdigest()[:16]}.tar"
    if archive.exists():
        return archive
    _base()
    options = ["--layers", "--build-arg", f"BASE={_BASE}"]
    for place in ("/etc/ssl/certs", "/etc/pip.conf", "/usr/local/share/ca-certificates"):
        if Path(place).exists():  # pip, apt and go inside reach what they reach here
            options += ["-v", f"{place}:{place}:ro"]
    if name == "worker":
        options += ["--build-arg", f"GO_BASE={_BASE}", *_go()]
    _script("build.sh", name, version, OPTIONS=" ".join(options))
    _push(f"{REGISTRY}/{NAMES[name]}:{version}", archive)
    return archive


def sbom(name, version, folder):
    """What `make sbom` says is in an image: the list, as CycloneDX has it."""
    _script("sbom.sh", name, version, DIST=str(folder))
    return json.loads((folder / f"{NAMES[name]}.cdx.json").read_text())


_BUILDER_HOME = "/root"  # of the user that builds in a container


def _go():
    """The host's Go and its caches, in place of an image of Go."""
    shown = machine.run(["go", "env", "-json", "GOROOT", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS"]).stdout
    found = json.loads(shown)
    for folder in (found["GOMODCACHE"], found["GOCACHE"]):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return [
        *("-v", f"{found['GOROOT']}:/usr/local/go:ro"),
        *("-v", f"{found['GOMODCACHE']}:{_BUILDER_HOME}/go/pkg/mod"),
        *("-v", f"{found['GOCACHE']}:{_BUILDER_HOME}/.cache/go-build"),
    ]


def _base():
    """A minimal Debian, once."""
    if _buildah("images", "-q", _BASE, check=False).stdout.strip():
        return
    folder = cache() / "debootstrap"
    shutil.rmtree(folder, ignore_errors=True)
    machine.run([machine.program("debootstrap"), "--variant=minbase", "--include=ca-certificates", _SUITE, str(folder)])
    container = _buildah("from", "scratch").stdout.strip()
    _buildah("copy", container, str(folder), "/")
    _buildah("commit", "--rm", container, _BASE)
    shutil.rmtree(folder)


def _pause():
    source = Path(__file__).parent / "pause"
    archive = cache() / f"pause-{_digest(source).hexdigest()[:16]}.tar"
    if archive.exists():
        return archive
    program = cache() / "pause"
    flags = ["-trimpath", "-ldflags", "-s -w", "-o", str(program), "."]
    machine.run(["go", "build", *flags], cwd=source, env={"CGO_ENABLED": "0"})
    container = _buildah("from", "scratch").stdout.strip()
    _buildah("copy", container, str(program), "/pause")
    _buildah("config", "--entrypoint", '["/pause"]', container)
    _buildah("commit", "--rm", container, "localhost/pause:1")
    _push("localhost/pause:1", archive)
    program.unlink()
    return archive


def _push(image, archive):
    new = archive.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    _buildah("push", image, f"docker-archive:{new}:{image}")
    for old in cache().glob(f"{archive.name.partition('-')[0]}-*.tar"):
        old.unlink()
    new.rename(archive)


def _buildah(*arguments, check=True):
    command = [machine.program("buildah"), *arguments]
    return machine.run(command, check=check, cwd=ROOT, env=_storage(), timeout_s=1800)


def _script(script, name, version, **settings):
    """Run a script of `images/`, as make does."""
    settings |= {"ENGINE": machine.program("buildah"), "REGISTRY": REGISTRY, "VERSION": version}
    machine.run([str(ROOT / "images" / script), name], cwd=ROOT, env=_storage() | settings, timeout_s=1800)


def _storage():
    """Variables that give buildah a store of its own."""
    store, config = cache() / "store", cache() / "storage.conf"
    config.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{store}"\nrunroot = "{store}/run"\n')
    return {"CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}

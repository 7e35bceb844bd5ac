"""Checks and builds a release into dist/: `python -m release check TAG`, `python -m release build`, `… notes`."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import helm_python

from release.versions import ROOT, ReleaseError, check_versions, notes, project_version


def main() -> int:
    """Exit code 1 with one line when the release must not be published."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="do tag, project, chart and changelog agree").add_argument("tag")
    verbs.add_parser("build", help="wheel, chart, documentation and checksums").add_argument(
        "--dist", type=Path, default=ROOT / "dist"
    )
    verbs.add_parser("notes", help="print the release's notes").add_argument("tag")
    options = parser.parse_args()
    try:
        if options.verb == "build":
            build(options.dist)
        else:
            text = notes(check_versions(options.tag), (ROOT / "CHANGELOG.md").read_text())
            if options.verb == "notes":
                print(text, end="")
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def build(dist: Path) -> None:
    """Wheel, chart and the documentation's site, and `SHA256SUMS` of all that is in `dist`."""
    dist.mkdir(parents=True, exist_ok=True)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", dist]
    with tempfile.TemporaryDirectory() as folder:
        _copy_tracked(Path(folder))  # an earlier build in the working tree would add files that are deleted since
        subprocess.run([*wheel, "--no-deps", "--no-build-isolation", "--no-index", folder], check=True)
    helm_python.package(ROOT / "helm" / "git-events-runner", destination=dist)
    _pack_site(dist)
    files = sorted(path for path in dist.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / "SHA256SUMS").write_text("".join(lines))
    print(f"release {project_version()}: {', '.join(path.name for path in files)}")


def _pack_site(dist: Path) -> None:
    """The site as it describes this version: its links into the repository lead to the tag."""
    version = project_version()
    mkdocs = [Path(sys.executable).parent / "mkdocs", "build", "--quiet", "--site-dir"]
    environment = os.environ | {"REVISION": f"v{version}", "NO_MKDOCS_2_WARNING": "1"}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*mkdocs, folder], cwd=ROOT, env=environment, check=True)
        with tarfile.open(dist / f"git-events-runner-docs-{version}.tar.gz", "w:gz") as archive:
            archive.add(folder, f"git-events-runner-docs-{version}")


def _copy_tracked(folder: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


if __name__ == "__main__":
    sys.exit(main())

"""Checks and builds a release into dist/: `python -m release check TAG`, `python -m release build`, `… notes`."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

import helm_python

from release.versions import ROOT, ReleaseError, check_versions, notes, project_version


def main() -> int:
    """Exit code 1 with one line when the release must not be published."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="do tag, project, chart and changelog agree").add_argument("tag")
    verbs.add_parser("build", help="wheel, chart and checksums").add_argument(
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
    """Wheel and chart, and `SHA256SUMS` of all that is in `dist`."""
    dist.mkdir(parents=True, exist_ok=True)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*wheel, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", dist, ROOT], check=True)
    helm_python.package(ROOT / "helm" / "git-events-runner", destination=dist)
    files = sorted(path for path in dist.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / "SHA256SUMS").write_text("".join(lines))
    print(f"release {project_version()}: {', '.join(path.name for path in files)}")


if __name__ == "__main__":
    sys.exit(main())

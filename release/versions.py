"""The version of a release, wherever it is written, and the release's notes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


class ReleaseError(Exception):
    """A release that must not be published; the message says what to correct."""


def project_version(root: Path = ROOT) -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def check_versions(tag: str, root: Path = ROOT) -> str:
    """The version of the tag `vX.Y.Z`, which project and chart have to have too.

    Raises:
        ReleaseError: the tag has another form, or a file has another version.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?", tag):
        raise ReleaseError(f"tag {tag}: write vMAJOR.MINOR.PATCH, with -rc.N for a candidate")
    version = tag[1:]
    chart = yaml.safe_load((root / "helm" / "git-events-runner" / "Chart.yaml").read_text())
    written = {
        "pyproject.toml: project.version": project_version(root),
        "Chart.yaml: version": chart["version"],
        "Chart.yaml: appVersion": chart["appVersion"],
    }
    wrong = [f"{where} is {value}" for where, value in written.items() if value != version]
    if wrong:
        raise ReleaseError(f"tag {tag}, but {'; '.join(wrong)}: write {version} there, or correct the tag")
    return version


def notes(version: str, changelog: str) -> str:
    r"""The section of CHANGELOG.md for a version.

    Raises:
        ReleaseError: there is no such section, or it is empty.

    >>> notes("1.1.0", "# Changelog\n\n## 1.1.0 (2027-01-31)\n\n- A.\n\n## 1.0.0\n\n- B.\n")
    '- A.\n'
    """
    parts = re.split(r"(?m)^## (.+)$", changelog)
    sections = {heading.split(" ")[0]: text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}
    if not sections.get(version):
        raise ReleaseError(f"CHANGELOG.md has no entries under `## {version}`: rename Unreleased, with the date")
    return sections[version] + "\n"

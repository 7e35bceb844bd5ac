"""What a release is published from: versions that agree, notes that exist, a wheel and a chart that are complete."""

import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from release.__main__ import build
from release.versions import ROOT, ReleaseError, check_versions, notes, project_version


def tree(folder, *, chart):
    """The files that have a version, with `chart` as the chart's."""
    (folder / "helm" / "git-events-runner").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    text = f'version: "{chart}"\nappVersion: "{project_version()}"\n'
    (folder / "helm" / "git-events-runner" / "Chart.yaml").write_text(text)
    return folder


def test_the_present_versions_agree():
    """Project and chart have one version."""
    assert check_versions(f"v{project_version()}") == project_version()


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0", "v1.0.0+build", "latest", "v1.0.0; rm"])
def test_a_tag_of_another_form_is_refused(tag):
    """The message shows the form."""
    with pytest.raises(ReleaseError, match=r"write vMAJOR\.MINOR\.PATCH"):
        check_versions(tag)


def test_a_file_with_another_version_is_named(tmp_path):
    """A release whose chart was forgotten does not start."""
    root = tree(tmp_path, chart="0.9.0")
    with pytest.raises(ReleaseError, match=r"but Chart\.yaml: version is 0\.9\.0"):
        check_versions(f"v{project_version()}", root)


def test_the_tag_decides(tmp_path):
    """A tag that is ahead of all files names each of them."""
    with pytest.raises(ReleaseError) as caught:
        check_versions("v99.0.0", tree(tmp_path, chart=project_version()))
    assert str(caught.value).count(" is ") == 3


def test_notes_are_one_section_of_the_changelog():
    """Neither Unreleased nor older versions are in them; a version without entries is refused."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    found = notes(project_version(), changelog)
    assert found.startswith("The first release of the Python program.")
    assert "## " not in found
    for version in ("99.0.0", "2.0.0"):
        with pytest.raises(ReleaseError, match="rename Unreleased"):
            notes(version, changelog + "\n## 2.0.0 (2027-01-01)\n")


def test_the_command_reports_a_refusal_in_one_line():
    """Exit code 1, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "release", "check", "v99.0.0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_wheel_chart_and_documentation_are_complete(tmp_path):
    """All data files of the package are in the wheel, all files of the chart in its archive, each with its checksum."""
    build(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "git_events_runner"
    files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= names
    (chart,) = tmp_path.glob("*.tgz")
    with tarfile.open(chart) as archive:
        packed = set(archive.getnames())
    source = ROOT / "helm" / "git-events-runner"
    assert {f"git-events-runner/{p.relative_to(source)}" for p in source.rglob("*") if p.is_file()} == packed
    (documentation,) = tmp_path.glob("*-docs-*.tar.gz")
    with tarfile.open(documentation) as archive:
        start = archive.extractfile(f"git-events-runner-docs-{project_version()}/index.html").read().decode()
    assert f"Version {project_version()} " in start
    sums = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False)
    assert (sums.returncode, sums.stdout.count(b": OK")) == (0, 3)

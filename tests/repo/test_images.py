"""What the images are built from, as far as it can be judged without building them."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.edges.chat.addresses import EXAMPLES

_ROOT = Path(__file__).parents[2]
_DOCKERFILES = sorted(_ROOT.glob("Dockerfile.*"))
_SCRIPTS = [path for path in sorted((_ROOT / "images").rglob("*")) if path.suffix in {".py", ".sh", ".go"}]
_ARCHITECTURES = re.compile(
    r"\b(amd64|x86_64|x86-64|i[36]86|arm64|aarch64|armhf|armv\d\w*|ppc64le|s390x)\b", re.IGNORECASE
)


@pytest.mark.parametrize("path", [*_DOCKERFILES, *_SCRIPTS], ids=lambda path: path.name)
def test_no_architecture_is_named(path):
    """Outside of comments: the same files build on, and for, each."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(("#", "//"))]
    assert [line for line in lines if _ARCHITECTURES.search(line)] == []


@pytest.mark.parametrize("path", _DOCKERFILES, ids=lambda path: path.name)
def test_every_stage_is_of_the_platform_that_is_built_for(path):
    """No stage has a platform of its own, and every base is an argument, pinned by a digest unless it is given."""
    text = path.read_text()
    stages = re.findall(r"^FROM (.*)$", text, re.MULTILINE)
    assert stages
    for stage in stages:
        assert re.fullmatch(r"(scratch|\$\{(GO_)?BASE\})( AS \w+)?", stage)
    bases = re.findall(r"^ARG (?:GO_)?BASE=(.*)$", text, re.MULTILINE)
    assert bases
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", base) for base in bases)


def test_every_file_of_the_package_is_installed():
    """Templates and style sheets are among the package's data: an image has nothing else of the repository."""
    package = _ROOT / "git_events_runner"
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["git_events_runner"]
    installed = {path for pattern in patterns for path in package.glob(pattern)}
    other = {path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert other == installed
    folders = {path.parent for path in package.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_cloner_finds_what_it_imports(tmp_path):
    """Every module of the cloner and of git's edge can be imported from what its Dockerfile leaves of the program."""
    package = tmp_path / "git_events_runner"
    shutil.copytree(_ROOT / "git_events_runner", package, ignore=shutil.ignore_patterns("__pycache__"))
    [parts] = re.findall(r"for part in (.+?); do rm -r", (_ROOT / "Dockerfile.cloner").read_text())
    for part in parts.split():
        shutil.rmtree(package / part)
    rooms = [package / "cloner", package / "edges" / "git"]
    names = [".".join(path.relative_to(tmp_path).with_suffix("").parts) for room in rooms for path in room.glob("*.py")]
    # Without `site`: an editable installation would find what the image does not have.
    paths = [str(tmp_path), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    code = f"import sys; sys.path += {paths!r}; [__import__(name) for name in {names!r}]"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_services_of_messages_need_no_more_than_the_image_has(tmp_path):
    """Each plugin sends with what is left of apprise, without Markdown, OAuth, pictures and translations."""
    site = Path(sysconfig.get_path("purelib"))
    package = tmp_path / "git_events_runner"
    shutil.copytree(_ROOT / "git_events_runner", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(site / "apprise", tmp_path / "apprise", ignore=shutil.ignore_patterns("__pycache__"))
    trim = [sys.executable, str(_ROOT / "images" / "trim_apprise.py"), str(tmp_path)]
    subprocess.run(trim, check=True)
    paths = [str(tmp_path), str(site), sysconfig.get_path("platlib")]
    code = f"""
import sys
sys.path += {paths!r}
sys.modules |= dict.fromkeys(("markdown", "oauthlib", "requests_oauthlib"))
from importlib import import_module
from git_events_runner.edges.chat.services import SERVICES, plugin_for
for service in SERVICES:
    assert import_module(service.module).__file__.startswith({str(tmp_path)!r})
for address in {[address for address, _ in EXAMPLES.values()]!r}:
    plugin_for(address)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    left = sum(path.stat().st_size for path in (tmp_path / "apprise").rglob("*") if path.is_file())
    assert left < 5 * 2**20  # as sources, which the image does not have
    assert not (tmp_path / "apprise" / "plugins" / "irc").exists()

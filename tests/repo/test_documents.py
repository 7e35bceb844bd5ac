"""Documents and code say the same: generated files, log events, reasons, metrics, layout."""

import re
import subprocess
from pathlib import Path

import pytest

from git_events_runner.flow.crds import missing_fields
from git_events_runner.resources.conditions import Reason
from git_events_runner.resources.crds import crds
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.telemetry.log_events import LOG_EVENTS
from tests.repo import generated, kind_pages

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "git_events_runner"


def tracked():
    """Files of the repository, as git knows them (new ones too)."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_generated_files_are_fresh():
    """CRDs and tables are what the code says; `make generate` renews them."""
    assert generated.main(["--check"]) == 0


def test_the_page_of_every_kind_begins_with_an_example():
    """A page of fields alone shows what exists, and not how to write it."""
    without = [
        kind_pages.path_of(crd)
        for crd in crds()
        if f"```yaml\napiVersion: git-events-runner.rs/v1alpha1\nkind: {crd['spec']['names']['kind']}\n"
        not in kind_pages.introduction(crd)
    ]
    assert without == []


def test_every_log_event_is_listed_and_used():
    """One closed list of events: nothing else is logged, nothing in it is dead."""
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "events.py")
    used = set(
        re.findall(r'"([a-z]+\.[a-z]+)"', "\n".join(re.findall(r"(?:log\.\w+|level)\((?:[^()]|\n)*?\"[^)]*", text)))
    )
    used = {
        name for name in used if name in LOG_EVENTS or re.search(rf'(log\.\w+|level)\(\s*"{re.escape(name)}"', text)
    }
    assert used == set(LOG_EVENTS)


def test_every_reason_in_the_code_is_listed():
    """Conditions and Events use the one list."""
    text = "\n".join(path.read_text() for room in ("flow", "edges", "rules") for path in (PACKAGE / room).rglob("*.py"))
    text += (PACKAGE / "errors.py").read_text() + (PACKAGE / "wiring" / "git_sources.py").read_text()
    used = set(re.findall(r'\breason(?:: ClassVar\[str\])? ?= ?"([A-Z][A-Za-z]+)"', text))
    used |= set(re.findall(r'reason: str = "([A-Z][A-Za-z]+)"', text))
    assert used - {reason.value for reason in Reason} == set()


def test_every_result_of_a_check_that_is_named_is_one():
    """Dashboard, alerts, pages, benchmarks and tests name results by the one list."""
    named = re.compile(r'verdict\\?"?(?:=~?| ?== ?|: ?|!=) ?\\?["`]([a-z|-]+)\\?["`]|`((?:fire|skip|wait)-[a-z-]+)`')
    found = set()
    for path in tracked():
        if path.suffix in {".py", ".md", ".json", ".yaml", ".yml", ".tpl"}:
            for one, other in named.findall(path.read_text(errors="replace")):
                found |= {(path.name, name) for name in (one or other).split("|")}
    assert len(found) > 10
    assert {(path, name) for path, name in found if name not in set(CheckResult)} == set()


def test_our_crds_have_every_field_that_is_judged_at_start():
    """The guard against old CRDs accepts ours, and would miss each of its fields."""
    for crd in crds():
        kind = crd["spec"]["names"]["kind"]
        assert missing_fields(kind, crd) == []
    missing = set(missing_fields("WebhookTrigger", {}))
    assert missing > {"subresources.status", "status.deliveries", "status.lastRunNumber", "status.checkedSources"}


def test_no_file_is_too_long():
    """A file is one noun: at most 400 lines in the package, 500 elsewhere and in `app.py`, which builds everything."""
    limits = {path: 400 if PACKAGE in path.parents and path != PACKAGE / "app.py" else 500 for path in tracked()}
    sizes = {path: len(path.read_text().splitlines()) for path in limits if path.suffix == ".py"}
    assert [path.name for path, lines in sizes.items() if lines > limits[path]] == []


def test_the_recipes_name_files_that_exist():
    """Each file in CONTRIBUTING's recipes is there, and each recipe has five steps."""
    recipes = (ROOT / "CONTRIBUTING.md").read_text().partition("## Recipes")[2].partition("\n## ")[0]
    titles = re.findall(r"^\*\*Add (.+)\*\*$", recipes, re.MULTILINE)
    assert titles == ["a forge", "a field to a trigger", "a condition reason", "a metric", "a verb"]
    assert re.findall(r"^(\d)\.", recipes, re.MULTILINE) == list("12345") * len(titles)
    named = re.findall(r"`((?:git_events_runner|tests|docs|helm)/[^`]+)`", recipes)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_nothing_names_a_machine_or_a_registry_host():
    """What is true on one machine only stays out of the repository."""
    hosts = ["pypi" + r"\.org", "python" + "hosted", "--index" + "-url", "registry" + r"\.npmjs"]
    machine = re.compile("|".join([r"(?<![\w.<-])/(?:work|root|home)/", *hosts]))
    found = []
    for path in tracked():
        if path.suffix in {".png", ".sum"} or path == Path(__file__):
            continue
        names = machine.findall(path.read_text(errors="replace"))
        found += [f"{path.relative_to(ROOT)}: {name}" for name in names]
    assert found == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path):
    """A module begins with its contract."""
    assert path.read_text().startswith('"""')

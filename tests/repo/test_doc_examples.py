"""YAML in the documents is what it says: objects of ours, runtime config, values of the chart."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from git_events_runner.cli.inspection import inspect
from git_events_runner.cli.parser import VERBS, parser_for
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.parse import parse
from git_events_runner.settings import RuntimeConfig, parse_runtime_config
from tests.repo import chart, helm

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), DOCS.parent / "README.md"])
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
CONFIG = {field.alias or name for name, field in RuntimeConfig.model_fields.items()}


def blocks(page):
    """The documents of the page's YAML blocks."""
    for text in texts(page):
        yield from (document for document in yaml.safe_load_all(text) if document)


def texts(page):
    """The YAML blocks of the page."""
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def name_of(page):
    """The page's path below the repository, for reports."""
    return page.relative_to(DOCS.parent).as_posix()


def with_objects(page):
    """Those blocks that have objects of ours."""
    return [text for text in texts(page) if f"apiVersion: {GROUP}" in text]


@pytest.mark.parametrize("page", [*filter(with_objects, PAGES)], ids=name_of)
async def test_manifests_are_checked(page, tmp_path):
    """Schema, CEL rules, schedules and policy as `check` applies them; the pages need not show every object."""
    file = tmp_path / "example.yaml"
    for text in with_objects(page):
        file.write_text(text)
        found = await inspect([str(file)], {}, "default")
        assert [str(one) for one in found.problems if "in these manifests" not in one.text] == [], text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_are_accepted(page):
    """By the models, by the reader of the runtime config, or by the chart; nothing else stands there unseen."""
    for document in blocks(page):
        if str(document.get("apiVersion", "")).startswith(GROUP):
            parse(document | {"metadata": {"namespace": "default"} | document["metadata"]})
        elif "kind" in document:
            assert document["apiVersion"]
        elif set(document) <= CONFIG:
            text = yaml.safe_dump(document, allow_unicode=True)
            parse_runtime_config(re.sub(r"ssh-\w+ AAAA…", KEY, text))  # keys are cut in documents
        else:
            assert set(document) <= set(chart.values()), document
            assert helm.render(document)


def typed(page):
    """The commands of this program on the page: lines of code blocks, indented lines and words in backticks."""
    text = page.read_text().replace("\\\n", " ").replace("\\|", "|")
    yield from re.findall(r"(?m)^(?:[$ ]|\.venv/bin/)*git-events-runner (.*)$", text)
    yield from re.findall(r"`[^`\n]*\bgit-events-runner ([^`\n]+)`", text)


def read(command):
    """What the parser says of a command, whose placeholders have capitals or an ellipsis; None: it is accepted."""
    words = shlex.split(command, comments=True)
    words = list(itertools.takewhile(lambda word: word not in {"|", ">", "||", "&&"}, words))
    if not words or words[0] not in VERBS or any("…" in word or re.fullmatch(r"[A-Z]+", word) for word in words):
        return None
    try:
        parser_for(words).read(words)
    except SystemExit as refused:
        return f"exit code {refused.code}: {command}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_accepted(page):
    """Every command of this program that a page shows is one that its parser accepts."""
    shown = [command for command in typed(page) if command.strip() not in VERBS]  # a verb alone is a name
    assert [refusal for command in shown if (refusal := read(command)) is not None] == []


def test_commands_print_what_the_pages_show(tmp_path):
    """Each command of a console block on the page about `local`, typed as it is."""
    [text] = re.findall(r"^```console\n(.*?)^```", (DOCS / "local.md").read_text(), re.MULTILINE | re.DOTALL)
    sessions = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE)
    assert len(sessions) == 2
    program = Path(sys.executable).parent / "git-events-runner"
    for command, shown in sessions:
        typed = command.replace("git-events-runner", str(program))
        done = subprocess.run(["sh", "-c", typed], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == shown

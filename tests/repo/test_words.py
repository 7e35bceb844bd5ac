"""The documents use the field's words (docs/glossary.md)."""

import ast
import io
import json
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

from tests.repo.words import WORDS

ROOT = Path(__file__).parents[2]
CHART = "helm/git-events-runner"
PACKAGE = ROOT / "git_events_runner"
# Words under which users search; each is on the page that has the thing.
SEARCHED = {
    "README.md": ["GitOps", "monorepo", "poll interval"],
    "docs/git.md": ["SSRF", "rate limiting", "poll interval", "preview environment"],
    "docs/guarantees.md": ["idempotent", "exactly-once"],
    "docs/webhooks.md": ["deduplication", "replay protection", "debounce", "poll interval"],
    "docs/chart.md": ["leader election", "high availability"],
    "docs/ssh.md": ["trust on first use", "TOFU"],
}


def pages():
    """Names of every page, and of every other file with prose of ours: chart, manifests, Dockerfiles, scripts."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    chart = (f"{CHART}/templates/", f"{CHART}/files/dashboard.json", f"{CHART}/values.yaml", f"{CHART}/Chart.yaml")
    others = (*chart, "manifests/examples/", "Dockerfile.", "images/build.sh", "images/sbom.sh", "Makefile", ".ci/run")
    return sorted(name for name in listed if name.endswith(".md") or name.startswith(others))


def prose(name):
    """[(line number, text)] of what readers read: without code, targets of links, templates."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".md"):
        return list(enumerate(_markdown(text).splitlines(), 1))
    shown = _of_json if name.endswith(".json") else _of_notes if name.endswith("NOTES.txt") else _of_code
    return [(number, shown(line)) for number, line in enumerate(text.splitlines(), 1)]


def _of_notes(line):
    """A line of the chart's notes without template actions."""
    return re.sub(r"\{\{.*?\}\}", " ", line)


def _of_code(line):
    """The comment, or the text of an alert, in a line of YAML, of a template or of a script."""
    found = re.search(r"\{\{-? ?/\*(.*)|(?:^|\s)#+(.*)|(?:summary|description): (.*)", line)
    return re.sub(r"`[^`]*`|\{\{.*?\}\}", " ", "".join(filter(None, found.groups()))) if found else ""


def _markdown(text):
    """A page without code blocks, code, comments and targets of links; its lines stay where they are."""

    def blank(match):
        return "\n" * match[0].count("\n") if "\n" in match[0] else " "

    text = re.sub(r"^( *)```(?!text).*?^\1```", blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ {4,}(?! *[-*\d]).*$", "", text, flags=re.MULTILINE)
    for found in (r"<!--.*?-->", r"`[^`\n]+`", r"\]\([^)\s]+\)", r"https?://\S+"):
        text = re.sub(found, blank, text, flags=re.DOTALL)
    return text


def _of_json(line):
    """The title or description in a line of the dashboard."""
    found = re.match(r'\s*"(?:title|description|legendFormat)": (".*"),?$', line)
    return json.loads(found[1]) if found else ""


def findings(name):
    """Each word that may not come back, as `file:line: word; what to write instead`."""
    text = "\n".join(line.strip() for _, line in prose(name))
    return [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}; write {word.instead} ({word.reason})"
        for word in WORDS
        for found in word.found.finditer(text)
    ]


@pytest.mark.parametrize("name", pages())
def test_words_that_may_not_come_back_are_nowhere(name):
    """No page has a word of tests/repo/words.py in its prose."""
    found = findings(name)
    assert not found, "\n" + "\n".join(found)


def messages(path):
    """[(line number, text)] of the strings of a module that are sentences: messages, helps, descriptions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            documentation.update(map(id, node.values))
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else " … " for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_messages_have_no_word_that_may_not_come_back(path):
    """Help texts, conditions, Events, errors and log lines use the same words as the pages."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word_found[0]!r}; write {word.instead} ({word.reason})"
        for number, text in messages(path)
        if " " in text.strip()
        for word in WORDS
        for word_found in word.found.finditer(re.sub(r"`[^`]*`", " ", text))
    ]
    assert not found, "\n" + "\n".join(found)


def documentation(path):
    """[(line number, text)] of the docstrings and comments of a module."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_and_comments_have_no_word_that_may_not_come_back(path):
    """Maintainers read the same words as users; code in backquotes and examples is not read."""
    found = [
        f"{path.relative_to(ROOT)}:{number + text.count(chr(10), 0, word_found.start())}: {word_found[0]!r}; "
        f"write {word.instead} ({word.reason})"
        for number, prose_of in documentation(path)
        for text in [re.sub(r"`[^`]*`|>>> .*", lambda code: "\n" * code[0].count("\n") + " ", prose_of)]
        for word in WORDS
        for word_found in word.found.finditer(text)
    ]
    assert not found, "\n" + "\n".join(found)


def test_findings_name_the_line_and_what_to_write(tmp_path, monkeypatch):
    """A word in prose is found with its line; the same word in code, a link's target or a comment is not."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "page.md").write_text("# Page\n\n```\nask git\n```\n\n`ask`, [x](ask.md) <!-- ask -->\nWe ask git.\n")
    assert [found.partition(" (")[0] for found in findings("page.md")] == [
        "page.md:8: 'ask'; write request, query; `requires`"
    ]


def test_the_glossary_names_files_that_exist():
    """Each term has a meaning and a location; files, statuses and annotations in it are those of the code."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    for row in rows:
        assert len(row) == 3, row
        assert all(row), row
        for path in re.findall(r"`((?:git_events_runner|tests)/[\w/.]+)`", row[2]):
            assert (ROOT / path).exists(), path
        for annotation in re.findall(r"`git-events-runner\.rs/([\w-]+)`", row[2]):
            assert f"/{annotation}" in code, annotation


@pytest.mark.parametrize(("page", "words"), SEARCHED.items(), ids=SEARCHED)
def test_pages_have_the_words_under_which_users_search(page, words):
    """Who searches for the field's name of a thing finds the page that describes it."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").lower().split())
    assert [word for word in words if word.lower() not in text] == []

"""Commands of other programs in the documents name what exists: kinds for kubectl, values for Helm, verbs for make."""

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from git_events_runner.resources.crds import crds
from git_events_runner.resources.kinds import GROUP
from tests.repo import chart
from tests.repo.test_doc_examples import PAGES, name_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "git_events_runner"
OTHERS = {  # Kubernetes' own, and those of other projects that pages name
    *("namespace", "namespaces", "pod", "pods", "job", "jobs", "secret", "configmap", "events", "svc", "ingress"),
    *("deployment", "deployments", "serviceaccount", "rolebinding", "clusterrolebinding", "role", "lease", "nodes"),
    *("networkpolicy", "resourcequota", "crd", "customresourcedefinitions", "servicecidrs", "certificate"),
}  # fmt: skip
WITH_KIND = {"get", "describe", "annotate", "label", "patch", "delete", "create", "wait", "explain", "edit"}
VERBS = WITH_KIND | {
    "apply",
    "replace",
    "logs",
    "rollout",
    "auth",
    "port-forward",
    "config",
    "exec",
    "scale",
    "diff",
    "ger",
}
# Options that take their value as the next word.
VALUED = {"-n", "-o", "-l", "-L", "-f", "-c", "-p", "-k", "--type", "--namespace", "--sort-by", "--kubeconfig", "--as"}


def lines(page):
    """The commands of the page's shell blocks, one each, and those in backticks."""
    text = page.read_text(encoding="utf-8")
    for kind, block in re.findall(r"^ *```(sh|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        joined = block.replace("\\\n", " ")
        found = re.findall(r"^ *\$ (.*)$", joined, re.MULTILINE) if kind == "console" else joined.splitlines()
        yield from (line.strip() for line in found)
    yield from re.findall(r"`((?:kubectl|helm|make) [^`\n]+)`", text)


def commands(page, program):
    """The words of each command of a program on the page, without what follows a pipe or a separator."""
    for line in lines(page):
        for part in re.split(r"\s(?:\|\|?|&&|;|>|>>)\s|\$\(|;", line):
            words = part.strip().strip(")").split("#")[0]
            if words.startswith(f"{program} "):
                try:
                    yield shlex.split(words)
                except ValueError:
                    yield words.split()


def kinds():
    """Every name of our kinds that kubectl knows."""
    names = [crd["spec"]["names"] for crd in crds()]
    return {word for name in names for word in (name["singular"], name["plural"], *name["shortNames"])}


def free_words(words):
    """The words that are no options and no values of options."""
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = word in VALUED and not skip
            continue
        yield word


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_kubectl_is_called_with_kinds_that_exist(page):
    """A kind that is misspelt or was renamed would be an error at a reader's first try."""
    known, wrong = kinds() | OTHERS, []
    for words in commands(page, "kubectl"):
        rest = list(free_words(words[1:]))
        if not rest or rest[0] not in VERBS:
            wrong.append(words)
            continue
        if rest[0] in WITH_KIND and len(rest) > 1:
            named = [one.partition("/")[0].partition(".")[0].lower() for one in rest[1].split(",")]
            wrong += [words for one in named if one not in known and not re.search(r"[A-Z…$]", rest[1])]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_annotations_and_labels_in_commands_exist(page):
    """An annotation that the controller does not read would do nothing, silently."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = {name for line in lines(page) for name in re.findall(rf"{re.escape(GROUP)}/([a-z-]+)", line)}
    assert [name for name in sorted(named) if f"/{name.rstrip('-')}" not in code] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_helm_sets_values_that_exist(page):
    """`--set a.b=c` names a value of the chart."""
    for words in commands(page, "helm"):
        for option, value in itertools.pairwise(words):
            if option in {"--set", "--set-string"}:
                node = chart.values()
                for key in value.partition("=")[0].split("."):
                    assert key in node, (words, key)
                    node = node[key]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "RELEASE.md"], ids=name_of)
def test_make_is_called_with_verbs_that_exist(page):
    """Each word after `make` that is no variable is a target."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = [word for words in commands(page, "make") for word in free_words(words[1:]) if "=" not in word]
    assert [word for word in called if word not in targets] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_shell_blocks_can_be_parsed(page):
    """Bash reads each block without a syntax error; nothing is run."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            ["bash", "-n"], input=block.replace("…", "x"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stderr}\n{block}"

"""The tables of docs/pods.md name what a Job has: no more, no less."""

import re
from pathlib import Path

from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.rules.jobs.run import PullRequestOfRun
from tests.rules.test_manifest import SHARED, Clone, SecretKeys, made, pod

PAGE = (Path(__file__).parents[2] / "docs" / "pods.md").read_text()


def section(title):
    """The text of one section of the page."""
    return re.split(r"^## ", PAGE.split(f"## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text):
    """Every name in the first column of the tables."""
    return {
        name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", cell(line))
    }


def cell(line):
    """The first cell of a row."""
    return line.split("|")[1]


def full():
    """A Job that has everything it can have."""
    secret = SecretKeys(namespace="elsewhere", name="robot", files={"token": "token"})
    clone = Clone(pointer=SHARED, description="{}", secrets=(secret,))
    return made(
        clone=clone,
        override=True,
        file_hash="f",
        deliveries="d",
        run_request=1,
        run_token="t",
        previous_commit="b" * 40,
        pull=PullRequestOfRun(number="7", target="main"),
        concurrency=ConcurrencyLimit(policy="Queue", group="terraform", limit=1),
    )


def test_every_variable_has_its_row():
    """Those of a worker with a sourceOverride, and the namespace that only a GitRepo has."""
    names = {variable["name"] for variable in pod(full())["containers"][0]["env"]}
    names.add("ACTION_JOB_ACTION_SOURCE_NAMESPACE")
    assert first_cells(section("What the worker finds")) == names


def test_every_label_and_annotation_has_its_row():
    """Of a Job that has all of them."""
    metadata = full()["metadata"]
    assert first_cells(section("Labels and annotations of Jobs")) == {*metadata["labels"], *metadata["annotations"]}

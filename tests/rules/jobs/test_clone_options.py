"""What of `actionJob.clone` reaches the cloner."""

import json

import pytest
from pydantic import ValidationError

from tests.rules.examples import action_job
from tests.rules.test_manifest import made, pod


def told(action):
    env = {one["name"]: one["value"] for one in pod(made(action))["initContainers"][0]["env"]}
    return env.get("GIT_EVENTS_RUNNER_CLONE")


@pytest.mark.parametrize("clone", [None, {}, {"depth": 1, "filter": "none", "sparse": []}])
def test_defaults_are_not_passed(clone):
    """A Job without options is as it ever was, so that v0.4's cloner understands it."""
    assert told({"clone": clone}) is None


def test_options_are_passed_as_data():
    """All of them in one variable, in which the kubelet expands nothing."""
    action = {
        "preserveGitFolder": True,
        "clone": {"depth": 0, "tags": True, "filter": "blob:none", "sparse": ["/a$(HOME)/"]},
    }
    passed = told(action)
    assert json.loads(passed.replace("$$", "$")) == {
        "depth": 0,
        "tags": True,
        "blobless": True,
        "sparse": ["/a$(HOME)/"],
    }
    assert "$$(HOME)" in passed
    hosts = {"submodules": True, "submoduleHosts": ["Git.Example:8443"]}
    assert json.loads(told({"clone": hosts})) == {"submodules": True, "submodule_hosts": ["git.example:8443"]}


@pytest.mark.parametrize(
    ("clone", "message"),
    [
        ({"depth": 0}, "clone.depth other than 1 and clone.tags need preserveGitFolder: true"),
        ({"tags": True}, "clone.depth other than 1 and clone.tags need preserveGitFolder: true"),
        ({"depth": -1}, "greater than or equal to 0"),
        ({"depth": "3"}, "valid integer"),
        ({"filter": "tree:0"}, "'none' or 'blob:none'"),
        ({"sparse": "docs"}, "valid tuple"),
        ({"sparse": ["x"] * 1001}, "at most 1000"),
        ({"submoduleHosts": ["git.example"]}, "submoduleHosts has an effect only with submodules: true"),
        ({"submodules": True, "submoduleHosts": ["https://git.example"]}, "without scheme and path"),
        ({"submodules": True, "submoduleHosts": ["git.example/team"]}, "without scheme and path"),
        ({"submodules": True, "submoduleHosts": ["x"] * 33}, "at most 32"),
    ],
)
def test_what_makes_no_sense_is_refused(clone, message):
    """The message names what would."""
    with pytest.raises(ValidationError, match=message):
        action_job(clone=clone)

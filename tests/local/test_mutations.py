"""Whatever is in a manifest: it is taken, or refused with file, line and field; never is there a traceback."""

import copy
import itertools
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from git_events_runner.errors import ConfigError
from git_events_runner.local.apiserver.server import ApiServer, serving
from git_events_runner.local.manifests import load
from git_events_runner.resources.kinds import KINDS

from .mutations import SEEDS, mutated

PROBLEM = re.compile(r"^\S+/m\.yaml(:\d+): (\S+: |is )[^\n]+$")
_NUMBERS = itertools.count()


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as found:
        yield found


def problems(server: ApiServer, folder: Path, text: str) -> list[str]:
    """What `load` says of a text; nothing when it is taken. Every call has an own namespace."""
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load([str(path)], server)
    except ConfigError as error:
        return list(error.problems)
    return []


def placed(obj: dict[str, Any]) -> dict[str, Any]:
    """The object in a namespace (or under a name) of its own."""
    number = next(_NUMBERS)
    if not isinstance(obj.get("metadata"), dict):
        return obj
    if obj["kind"] == "Namespace" or obj["kind"].startswith("Cluster"):
        obj["metadata"]["name"] = f"n{number}"
    elif "namespace" not in obj["metadata"]:
        obj["metadata"]["namespace"] = f"n{number}"
    return obj


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, len(SEEDS) - 1), chance=st.randoms(use_true_random=False))
async def test_mutated_manifests(server: ApiServer, tmp_path: Path, which: int, chance: random.Random):
    """A changed manifest of any kind is taken, or every problem of it is one line with file, line and field."""
    obj = placed(mutated(SEEDS[which], chance))
    for problem in problems(server, tmp_path, yaml.safe_dump(obj, allow_unicode=True)):
        assert PROBLEM.match(problem), problem


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["apiVersion", "kind", "metadata", "name", "items", "spec", "data", "x"]), inner, max_size=4),
    max_leaves=8), kind=st.sampled_from([*KINDS, "List", "Lists", 1, None]))  # fmt: skip
async def test_any_document(server: ApiServer, tmp_path: Path, value: Any, kind: Any):
    """Any document at all is taken, skipped or refused in the same manner."""
    if isinstance(value, dict):
        value = {"apiVersion": "v1", "kind": kind, **value}
    text = yaml.safe_dump(value)
    for problem in problems(server, tmp_path, text):
        assert PROBLEM.match(problem) or "no object in there" in problem, problem


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(alphabet=st.sampled_from("a:- \n{}[]&*!|>'\"#%@`,?01~\t<é\ud7ff\u2028"), max_size=60))
async def test_any_text(server: ApiServer, tmp_path: Path, text: str):
    """Any text at all is refused in one line, or holds nothing."""
    for problem in problems(server, tmp_path, text):
        assert "\n" not in problem
        assert problem.startswith(f"{tmp_path}/m.yaml")


async def test_the_seeds(server: ApiServer, tmp_path: Path):
    """The manifests that are changed are themselves taken, together."""
    text = yaml.safe_dump_all([copy.deepcopy(seed) for seed in SEEDS])
    assert problems(server, tmp_path, text) == []

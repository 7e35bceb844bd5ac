"""The runtime config in a ConfigMap of the manifests: what is wrong with it, with the line in the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from git_events_runner.errors import ConfigError
from git_events_runner.resources.ref import Ref
from git_events_runner.settings import parse_runtime_config

from .yamlfiles import Document, read

REF = Ref("ConfigMap", "default", "git-events-runner-config")
_KEY = "runtimeConfig"
_FIELD = f"data.{_KEY}"
_LINE = re.compile(r"line (\d+)")


def problems(ref: Ref, document: Document) -> Iterator[str]:
    """What is wrong with the runtime config, each as `file:line: field: what`; nothing for other objects."""
    text = (document.value.get("data") or {}).get(_KEY) if ref == REF else None
    if not isinstance(text, str):
        return
    try:
        parse_runtime_config(text)
    except ConfigError as error:
        for problem in error.problems:
            yield f"{_place(document, text, problem)}: {_FIELD}: {problem.removeprefix(f'{_KEY}: ')}"


def _place(document: Document, text: str, problem: str) -> str:
    """Where a problem of the text is: at the line that it names, or of the field that it begins with."""
    named = _LINE.search(problem)
    if problem.startswith(f"{_KEY}: "):
        return document.inside(_FIELD, int(named[1])) if named else document.at(_FIELD)
    try:
        inner = next(read(Path(), text))
    except (StopIteration, ConfigError, yaml.YAMLError):
        return document.at(_FIELD)
    return document.inside(_FIELD, int(inner.at(problem.partition(": ")[0]).rpartition(":")[2]))

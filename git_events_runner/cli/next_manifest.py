"""The schedules of triggers in manifests, with their windows, for `next FILE`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.local.manifests import items_of, one_line
from git_events_runner.local.yamlfiles import Document, documents, files
from git_events_runner.resources.kinds import GROUP, TRIGGERS
from git_events_runner.resources.parse import parse
from git_events_runner.rules.schedule.schedule import Schedule, parse_schedule
from git_events_runner.rules.windows import Windows, parse_windows

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A trigger with a schedule: its kind and name, and the windows of its runs (None: no windows)."""

    title: str
    schedule: Schedule
    windows: Windows | None
    suspended: bool


def is_path(text: str) -> bool:
    """Whether the argument of `next` names manifests: `-`, something with the suffix of one, or what exists.

    >>> is_path("trigger.yaml"), is_path("1h 15m"), is_path("0 8 * * 1-5"), is_path("")
    (True, False, False, False)
    """
    return text == "-" or text.endswith(_SUFFIXES) or (bool(text) and "*" not in text and Path(text).exists())


def scheduled(path: str) -> list[Scheduled]:
    """The triggers with a schedule in a file, a folder, or standard input (`-`).

    Raises:
        ConfigError: They cannot be read, or there are none.
    """
    found: list[Scheduled] = []
    problems: list[str] = []
    for file, explicit in files([Path(path)]).items():
        for document in chain.from_iterable(map(items_of, documents(file, explicit=explicit))):
            try:
                found += _of(document)
            except InvalidObject as error:
                problems += [f"{document.at(field)}: {field}: {problem}" for field, problem in error.problems]
    if not found and not problems:
        problems.append(f"{path}: no trigger with a schedule in there")
    if problems:
        raise ConfigError(*map(one_line, problems))
    return found


def _of(document: Document) -> Iterator[Scheduled]:
    obj = document.value
    if not isinstance(obj, dict) or obj.get("kind") not in TRIGGERS:
        return
    if not str(obj.get("apiVersion")).startswith(f"{GROUP}/"):
        return
    metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
    model: Any = parse({**obj, "metadata": {"namespace": "default", **(metadata or {})}})
    spec = model.spec
    if spec.schedule is None:
        return
    windows = parse_windows(spec.windows, "spec.windows")
    yield Scheduled(
        title=one_line(f"{model.ref.kind} {model.ref.namespace}/{model.ref.name}"),
        schedule=parse_schedule(spec.schedule.interval, spec.schedule.cron),
        windows=Windows((windows,)) if windows else None,
        suspended=bool(spec.suspend),
    )

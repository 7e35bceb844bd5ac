"""YAML and JSON documents with the line of every field, read as kubectl reads them."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from git_events_runner.errors import ConfigError

from .yamlscalars import KubernetesLoader

STDIN = Path("-")
_SUFFIXES = frozenset((".yaml", ".yml", ".json"))
_NODES = 1_000_000  # aliases repeat what they name: nine lines can make a billion
_DEPTH = 200
_Where = TypeVar("_Where")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document: its value, where it is, the line of each field by its dotted path, and where block texts begin.

    `repeats`: the lines of keys that a mapping has twice, by their dotted path, the last one's and the one's before.
    """

    path: Path
    line: int
    value: Any
    lines: Mapping[str, int]
    blocks: Mapping[str, int]
    repeats: Mapping[str, tuple[int, int]]
    explicit: bool = True

    def at(self, field: str) -> str:
        """`file:line` of a field, or of what comes nearest above it."""
        field = self._known(field)
        return f"{self.name}:{self.lines.get(field, self.line)}"

    def inside(self, field: str, line: int) -> str:
        """`file:line` of a line (from 1) in the text that a field holds; that of the field where it is no block."""
        return f"{self.name}:{self.blocks[field] + line - 1}" if field in self.blocks else self.at(field)

    @property
    def name(self) -> str:
        """The file as it was named."""
        return _name(self.path)

    def item(self, field: str, value: Any) -> Document:
        """The document that is in a field of this one."""
        return Document(
            path=self.path,
            line=self.lines.get(field, self.line),
            value=value,
            lines=_below(self.lines, field),
            blocks=_below(self.blocks, field),
            explicit=self.explicit,
            repeats=_below(self.repeats, field),
        )

    def _known(self, field: str) -> str:
        while field and field not in self.lines:
            head, _, key = field.rpartition("[")
            if head and f"{head}.{key.rstrip(']')}" in self.lines:  # data[token], as the API server writes keys
                return f"{head}.{key.rstrip(']')}"
            cut = max(field.rfind("."), field.rfind("["))
            field = field[:cut] if cut > 0 else ""
        return field


def _name(path: Path) -> str:
    return "stdin" if path == STDIN else str(path)


def _below(lines: Mapping[str, _Where], path: str) -> dict[str, _Where]:
    return {one[len(path) + 1 :]: line for one, line in lines.items() if one.startswith(f"{path}.")}


def files(paths: list[Path]) -> dict[Path, bool]:
    """The files that paths name; whether each is named itself, or is in a folder (hidden ones are left out).

    Raises:
        ConfigError: A path is not there, or a folder holds no YAML file.
    """
    found: dict[Path, bool] = {}
    problems = []
    for path in paths:
        if path == STDIN:
            found[path] = True
        elif path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())
            inside = [one for one in inside if not any(p.startswith(".") for p in one.relative_to(path).parts)]
            found |= {one: False for one in inside if one not in found}
            if not inside:
                problems.append(f"{path}: no .yaml, .yml or .json file in this folder")
        elif path.exists():  # also a pipe, as of `<(helm template …)`
            found[path] = True
        else:
            problems.append(f"{path}: no such file or folder")
    if problems:
        raise ConfigError(*problems)
    return found


def documents(path: Path, *, explicit: bool = True) -> Iterator[Document]:
    """The documents of a file (`-`: standard input) that hold something; `explicit`: the file was named itself.

    Raises:
        ConfigError: It cannot be read, or is no YAML; with the line.
    """
    name = _name(path)
    try:
        content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: is no text in UTF-8") from error
    try:
        yield from read(path, text, explicit=explicit)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if _begins_with_tab(text, line):
            raise ConfigError(f"{name}:{line}: is no YAML: the indentation has a tab; use spaces") from error
        reason = " ".join(part for part in (error.problem, error.context) if part)
        reason = f"is no YAML: {reason}; check the indentation, colons and quotes"
        raise ConfigError(f"{name}:{line}: {reason}") from error
    except yaml.YAMLError as error:  # a character that no YAML may hold
        position = getattr(error, "position", 0) or 0
        line = text[:position].count("\n") + 1
        raise ConfigError(f"{name}:{line}: is no YAML: {getattr(error, 'reason', error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}: is nested too deeply to be read") from error


def _begins_with_tab(text: str, line: int) -> bool:
    """Whether a line (from 1) of a text is indented with a tab."""
    found = text.split("\n")[line - 1 : line]
    return any("\t" in one[: len(one) - len(one.lstrip())] for one in found)


def read(path: Path, text: str, *, explicit: bool = True) -> Iterator[Document]:
    """The documents of a text that hold something.

    Raises:
        yaml.YAMLError: It is no YAML.
        RecursionError: It is nested too deeply.
        ConfigError: It holds what JSON cannot express, or repeats itself without end.
    """
    value = _json(text)
    if value is not None:
        with contextlib.suppress(yaml.YAMLError):
            _check_depth(path, text.replace("\t", " "))
        yield _json_document(path, text, value, explicit=explicit)
        return
    _check_depth(path, text)
    loader = KubernetesLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            places = _Places(path, node)
            value = loader.construct_document(node)
            if value is not None:
                yield places.document(value, explicit=explicit)
    finally:
        loader.dispose()


def _json_document(path: Path, text: str, value: Any, *, explicit: bool) -> Document:
    """JSON is YAML except for tabs (JSON text has them between its parts only) and some escapes: then without lines."""
    with contextlib.suppress(yaml.YAMLError):
        loader = KubernetesLoader(text.replace("\t", " "))
        try:
            return _Places(path, loader.get_single_node()).document(value, explicit=explicit)
        finally:
            loader.dispose()
    return Document(
        path=path, line=1, value=_plain(value, f"{_name(path)}:1"), lines={}, blocks={}, repeats={}, explicit=explicit
    )


def _check_depth(path: Path, text: str) -> None:
    """Refuse what is nested too deeply for the C parser's stack."""
    depth = 0
    for event in yaml.parse(text, Loader=KubernetesLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError(f"{_name(path)}:{line}: is nested too deeply")


def _json(text: str) -> Any:
    """The value of a JSON text that is an object; None for any other (it may still be YAML)."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


class _Places:
    """Lines of the fields of one document."""

    def __init__(self, path: Path, node: yaml.Node) -> None:
        self._lines: dict[str, int] = {}
        self._blocks: dict[str, int] = {}
        self._repeats: dict[str, tuple[int, int]] = {}
        self._path = path
        self._line = node.start_mark.line + 1
        self._left = _NODES
        self._note(node, "", 0)

    def document(self, value: Any, *, explicit: bool) -> Document:
        """The document with its value."""
        plain = _plain(value, f"{_name(self._path)}:{self._line}")
        return Document(
            path=self._path,
            line=self._line,
            value=plain,
            lines=self._lines,
            blocks=self._blocks,
            explicit=explicit,
            repeats=self._repeats,
        )

    def _note(self, node: yaml.Node, path: str, depth: int) -> None:
        self._left -= 1
        if self._left < 0 or depth > _DEPTH:
            what = "repeats itself too often" if self._left < 0 else "is nested too deeply"
            raise ConfigError(f"{_name(self._path)}:{node.start_mark.line + 1}: {what}; check its anchors and aliases")
        if isinstance(node, yaml.MappingNode):
            before: dict[str, int] = {}
            for key, value in node.value:
                inner = f"{path}.{key.value}" if path else str(key.value)
                line = key.start_mark.line + 1
                if inner in before and key.value != "<<":
                    self._repeats[inner] = (line, before[inner])
                before[inner] = self._lines[inner] = line
                if isinstance(value, yaml.ScalarNode) and value.style == "|":
                    self._blocks[inner] = value.start_mark.line + 2
                self._note(value, inner, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                inner = f"{path}[{index}]"
                self._lines[inner] = item.start_mark.line + 1
                self._note(item, inner, depth + 1)


def _plain(value: Any, place: str) -> Any:
    """The value as JSON has it: keys are text; what JSON has no form for is refused."""
    if isinstance(value, dict):
        return {_key(key, place): _plain(inner, place) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, place) for inner in value]
    if isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise ConfigError(f"{place}: holds half of a surrogate pair, which no text in UTF-8 can hold")
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{place}: holds a number that is infinite or none, which JSON has no form for")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)  # as the API server reads it
    if value is None or isinstance(value, bool | int | float):
        return value
    kind = type(value).__name__
    raise ConfigError(f"{place}: holds a value of type {kind}, which JSON has no form for; check the tags (`!!…`)")


def _key(key: Any, place: str) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(_plain(str(key), place))
    raise ConfigError(f"{place}: has a key that is no text: {key!r:.50}")

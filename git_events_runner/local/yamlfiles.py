"""YAML documents with the line of every field, read as Kubernetes reads them (a date stays a string)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from git_events_runner.errors import ConfigError

_SUFFIXES = frozenset((".yaml", ".yml", ".json"))
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_Loader):  # type: ignore[misc]  # which of the two it is depends on libyaml being there
    """A safe loader that leaves dates as strings, as the API server's does."""

    yaml_implicit_resolvers = {  # noqa: RUF012  the library's own shape
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document: where it is, its value, and the line of each field by its dotted path."""

    path: Path
    line: int
    value: Any
    lines: Mapping[str, int]

    def at(self, field: str) -> str:
        """`file:line` of a field, or of what comes nearest above it."""
        while field and field not in self.lines:
            cut = max(field.rfind("."), field.rfind("["))
            field = field[:cut] if cut > 0 else ""
        return f"{self.path}:{self.lines.get(field, self.line)}"


def files(paths: list[Path]) -> list[Path]:
    """The YAML files that paths name; folders with all below them, hidden ones left out.

    Raises:
        ConfigError: A path is not there, or a folder holds no YAML file.
    """
    found: dict[Path, None] = {}
    problems = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())
            inside = [one for one in inside if not any(p.startswith(".") for p in one.relative_to(path).parts)]
            found |= dict.fromkeys(inside)
            if not inside:
                problems.append(f"{path}: no .yaml, .yml or .json file in this folder")
        elif path.is_file():
            found[path] = None
        else:
            problems.append(f"{path}: no such file or folder")
    if problems:
        raise ConfigError(*problems)
    return list(found)


def documents(path: Path) -> Iterator[Document]:
    """The documents of a file that hold something.

    Raises:
        ConfigError: It cannot be read, or is no YAML; with the line.
    """
    try:
        loader = _PlainLoader(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: is no text in UTF-8") from error
    try:
        while loader.check_node():
            node = loader.get_node()
            lines: dict[str, int] = {}
            _note_lines(node, "", lines)
            value = loader.construct_document(node)
            if value is not None:
                yield Document(path=path, line=node.start_mark.line + 1, value=value, lines=lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        told = " ".join(part for part in (error.problem, error.context) if part)
        raise ConfigError(f"{path}:{line}: is no YAML: {told}; look at the indentation, colons and quotes") from error
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, path: str, lines: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = f"{path}.{key.value}" if path else str(key.value)
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            inner = f"{path}[{index}]"
            lines[inner] = item.start_mark.line + 1
            _note_lines(item, inner, lines)

"""Attributes of paths in a commit's `.gitattributes` files, as git reads them at a checkout (gitattributes(5), attr.c).

Only what changes the bytes of a file is kept: `text`, `crlf`, `eol`, `ident`, `filter`, `working-tree-encoding`, and
the macros that may set them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from git_events_runner.rules.patterns import path_rule

FILE = b".gitattributes"
MOST_BYTES = 4 * 2**20  # of one file; git leaves out those over 100 MiB
_LINE_BYTES = 2048  # longer lines are left out by git
_BLANKS = " \t\r\n"
_MACRO = "[attr]"
_NEEDED = frozenset({"text", "crlf", "eol", "ident", "filter", "working-tree-encoding"})
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*\Z")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
# True: set; False: unset; None: set to unspecified; text: its value.
Value = bool | str | None
_States = tuple[tuple[str, Value], ...]
_Matcher = Callable[[bytes], bool]
_BUILT_IN: Mapping[str, _States] = {"binary": (("diff", False), ("merge", False), ("text", False))}


@dataclass(frozen=True, slots=True)
class _File:
    """The rules of one file, and the length of the path of its folder."""

    above: int
    rules: tuple[tuple[_Matcher, _States], ...]


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes that hold in a folder: those of its file, then of the folders above it."""

    files: tuple[_File, ...] = ()
    macros: Mapping[str, _States] | None = None

    def within(self, folder: bytes, content: bytes) -> Attributes:
        """Those that hold in a folder with this file; `folder` is its path with `/` at the end, or empty."""
        lines = list(_lines(content))
        macros = self.macros
        if macros is None:  # they are defined in the uppermost folder only
            macros = (
                dict(_BUILT_IN)
                if folder
                else {**_BUILT_IN, **{name: assigned for name, assigned, macro in lines if macro}}
            )
        rules = []
        for pattern, assigned, macro in lines:
            states = tuple((name, value) for name, value in assigned if name in _NEEDED or name in macros)
            matcher = None if macro or not states else path_rule(pattern)
            if matcher is not None:
                rules.append((matcher, states))
        return Attributes((*self.files, _File(len(folder), tuple(rules))), macros)

    def of(self, path: bytes) -> dict[str, Value]:
        """The attributes of a file: the nearest folder's last line with an attribute decides about it."""
        found: dict[str, Value] = {}
        for file in reversed(self.files):
            below = path[file.above :]
            for matcher, states in reversed(file.rules):
                if matcher(below):
                    self._fill(states, found)
        return found

    def _fill(self, states: _States, found: dict[str, Value]) -> None:
        """Note what is not known yet; a macro that is set is expanded, before the states ahead of it."""
        waiting = list(states)
        while waiting:
            name, value = waiting.pop()
            if name not in found:
                found[name] = value
                if value is True:
                    waiting += (self.macros or {}).get(name, ())


def _lines(content: bytes) -> Iterable[tuple[str, _States, bool]]:
    """Pattern or macro's name, its states, and whether it is a macro, for each line that git would not leave out."""
    text = content.partition(b"\0")[0].decode("latin-1")
    for line in text.split("\n"):
        start = line.lstrip(_BLANKS)
        if not start or start.startswith("#") or len(line) >= _LINE_BYTES:
            continue
        name, rest = _unquoted(start)
        macro = start.startswith(_MACRO) and len(name) > len(_MACRO)
        if macro:
            name = name[len(_MACRO) :]
        states = _states(rest)
        if states is not None and (bool(_NAME.match(name)) if macro else not name.startswith("!")):
            yield name, states, macro


def _unquoted(line: str) -> tuple[str, str]:
    """The first word, perhaps quoted as in C, and the rest."""
    if line.startswith('"'):
        out: list[str] = []
        at = 1
        while at < len(line):
            c = line[at]
            at += 1
            if c == '"':
                return "".join(out), line[at:]
            if c != "\\":
                out.append(c)
                continue
            c = line[at : at + 1]
            at += 1
            if c in _ESCAPES:
                out.append(_ESCAPES[c])
            elif re.fullmatch("[0-3][0-7]{2}", line[at - 1 : at + 2]):
                out.append(chr(int(line[at - 1 : at + 2], 8)))
                at += 2
            else:
                break
    word = re.match(r"[^ \t\r\n]*", line)
    end = word.end() if word else 0
    return line[:end], line[end:]


def _states(text: str) -> _States | None:
    """The states of a line, None if a name is invalid (git ignores the complete line)."""
    states: list[tuple[str, Value]] = []
    for word in re.split(f"[{_BLANKS}]+", text):
        if not word:
            continue
        name, equals, value = word.partition("=")
        sign = name[0] if name[:1] in {"-", "!"} else ""
        name = name[len(sign) :]
        if not _NAME.match(name):
            return None
        states.append((name, False if sign == "-" else None if sign else value if equals else True))
    return tuple(states)

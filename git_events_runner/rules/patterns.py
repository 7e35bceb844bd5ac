"""File patterns as in .gitignore (gitignore(5)), matched without backtracking: every input takes polynomial time.

Lists without `!` select exactly what `git check-ignore --no-index` calls ignored. With `!` the last pattern that
matches the path or a folder above it decides (git looks into no ignored folder, so it could not select there again).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from git_events_runner.errors import InvalidObject

FIELD = "spec.sources.watchOn.files"
MOST_PATTERNS = 1000
LONGEST_PATTERN = 4096
_FOLDERS_KEPT = 100_000
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_SPECIAL = frozenset("*?[\\")
_HEX = frozenset("0123456789abcdefABCDEF")

_Matches = Callable[[str], bool]
_CLASSES: Mapping[str, _Matches] = {
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "digit": lambda c: c in "0123456789",
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "upper": lambda c: c.isascii() and c.isupper(),
    "lower": lambda c: c.isascii() and c.islower(),
    "space": lambda c: c in " \t\n\v\f\r",
    "blank": lambda c: c in " \t",
    "punct": lambda c: c in _PUNCTUATION,
    "xdigit": lambda c: c in _HEX,
    "cntrl": lambda c: c < " " or c == "\x7f",
    "print": lambda c: " " <= c < "\x7f",
    "graph": lambda c: " " < c < "\x7f",
}
GITLINK = 0o160000  # mode of a submodule's entry in a tree
# Stands for all that is in a submodule: no pattern can name it, those of wildcards match it.
_ANY_NAME = "/" + "\0" * 16
_STAR = None  # in a segment: any characters; as a segment: `**`


class _Malformed(Exception):
    """A pattern that git never matches: an open bracket, a trailing backslash."""


def _equals(wanted: str, c: str) -> bool:
    return wanted == c


def _anything(_: str) -> bool:
    return True


def _between(low: str, high: str, c: str) -> bool:
    return low <= c <= high


def _any_of(parts: tuple[_Matches, ...], negated: bool, c: str) -> bool:  # noqa: FBT001  bound by partial
    return any(part(c) for part in parts) != negated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """One path component of a pattern: a matcher for each character, _STAR for `*`; or the plain text it stands for.

    `suffix`: the component is `*` and this plain text.
    """

    tokens: tuple[_Matches | None, ...]
    literal: str | None
    suffix: str | None

    def fits(self, text: str) -> bool:
        if self.literal is not None:
            return text == self.literal
        if self.suffix is not None:
            return text.endswith(self.suffix)
        return _fits(self.tokens, text)


def _segment(text: str) -> _Segment:
    tokens = _tokens(text)
    plain = not _SPECIAL.intersection(text)
    suffix = text[1:] if text.startswith("*") and not _SPECIAL.intersection(text[1:]) else None
    return _Segment(tokens=tokens, literal=text if plain else None, suffix=suffix)


def _tokens(text: str) -> tuple[_Matches | None, ...]:
    tokens: list[_Matches | None] = []
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c == "*":
            if not tokens or tokens[-1] is not _STAR:
                tokens.append(_STAR)
        elif c == "?":
            tokens.append(_anything)
        elif c == "[":
            matcher, at = _bracket(text, at)
            tokens.append(matcher)
        elif c == "\\":
            if at >= len(text):
                raise _Malformed
            tokens.append(partial(_equals, text[at]))
            at += 1
        else:
            tokens.append(partial(_equals, c))
    return tuple(tokens)


def _bracket(text: str, at: int) -> tuple[_Matches, int]:
    """A bracket expression that begins before `at`; its matcher, and where it ends."""
    negated = text[at : at + 1] in {"!", "^"}
    at += int(negated)
    parts: list[_Matches] = []
    before: str | None = None
    first = True
    while True:
        c = _at(text, at)
        if c == "]" and not first:
            return partial(_any_of, tuple(parts), negated), at + 1
        first = False
        if c == "[" and text[at + 1 : at + 2] == ":":
            part, before, at = _class(text, at)
            parts.append(part)
        elif c == "-" and before is not None and _at(text, at + 1) != "]":
            at += 1
            at += int(text[at] == "\\")
            parts.append(partial(_between, before, _at(text, at)))
            before, at = None, at + 1
        else:
            at += int(c == "\\")
            before = _at(text, at)
            parts.append(partial(_equals, before))
            at += 1


def _class(text: str, at: int) -> tuple[_Matches, str | None, int]:
    """A `[:name:]`, or a bare bracket where it is none."""
    end = text.find(":]", at + 2)
    if end < 0 or "]" in text[at + 2 : end]:
        return partial(_equals, "["), "[", at + 1
    found = _CLASSES.get(text[at + 2 : end])
    if found is None:
        raise _Malformed
    return found, None, end + 2


def _at(text: str, at: int) -> str:
    if at >= len(text):
        raise _Malformed
    return text[at]


def _fits(tokens: tuple[_Matches | None, ...], text: str) -> bool:
    """Match with one star to fall back to: length of the text times length of the pattern at worst."""
    i = j = 0
    star, mark = -1, 0
    while j < len(text):
        token = tokens[i] if i < len(tokens) else _anything
        if i < len(tokens) and token is _STAR:
            star, mark = i, j
            i += 1
        elif i < len(tokens) and token is not None and token(text[j]):
            i, j = i + 1, j + 1
        elif star >= 0:
            mark += 1
            i, j = star + 1, mark
        else:
            return False
    return all(token is _STAR for token in tokens[i:])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One pattern. Of one with a slash, git compares the plain text before the first wildcard by itself (`prefix`).

    So in `a**/b` the stars stand at the beginning of what is left, and span folders.
    """

    negated: bool
    prefix: str
    folders_only: bool
    anywhere: bool
    segments: tuple[_Segment | None, ...]

    @classmethod
    def parse(cls, line: str) -> _Rule:
        negated = line.startswith("!")
        line = line[1:] if negated else line
        folders_only = line.endswith("/")
        line = line[:-1] if folders_only else line
        if line.startswith("**/") and "/" not in line[3:] and not _spans(line[3:]):
            line = line[3:]  # gitignore(5): the same as the pattern without it, and cheaper
        anywhere = "/" not in line
        line = line.removeprefix("/")
        if not line:
            raise _Malformed
        prefix = "" if anywhere else line[: next((i for i, c in enumerate(line) if c in _SPECIAL), len(line))]
        rest = line[len(prefix) :]
        segments = tuple(_STAR if _spans(part) and not anywhere else _segment(part) for part in rest.split("/"))
        return cls(negated=negated, prefix=prefix, folders_only=folders_only, anywhere=anywhere, segments=segments)

    def matches(self, path: str, name: str, *, folder: bool) -> bool:
        """Whether it matches the path, whose last part is `name`."""
        if self.folders_only and not folder:
            return False
        if self.anywhere:
            segment = self.segments[0]
            return segment is not None and segment.fits(name)
        if not path.startswith(self.prefix):
            return False
        states = self._closed({0})
        for part in path[len(self.prefix) :].split("/"):
            states = self._closed(self._after(states, part))
            if not states:
                return False
        return len(self.segments) in states

    def _after(self, states: set[int], part: str) -> set[int]:
        """The places in the pattern that one more part of the path leads to."""
        following: set[int] = set()
        last = len(self.segments) - 1
        for state in states:
            segment = self.segments[state] if state <= last else None
            if state <= last and segment is _STAR:
                following.update({state, state + 1} if state == last else {state})
            elif segment is not None and segment.fits(part):
                following.add(state + 1)
        return following

    def _closed(self, states: set[int]) -> set[int]:
        """`**/` may stand for no folder at all; a `**` at the end stands for at least one name."""
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state < len(self.segments) - 1 and self.segments[state] is _STAR and state + 1 not in states:
                states.add(state + 1)
                waiting.append(state + 1)
        return states


def _spans(part: str) -> bool:
    """Whether a component stands for any number of folders: two stars or more, and nothing else."""
    return len(part) > 1 and not part.strip("*")


class Patterns:
    """A compiled list of patterns."""

    def __init__(self, patterns: list[str]) -> None:
        """Compile.

        Raises:
            InvalidObject: There are too many, or one is too long.
        """
        if len(patterns) > MOST_PATTERNS:
            raise InvalidObject(FIELD, f"has {len(patterns)} patterns; at most {MOST_PATTERNS} are allowed")
        self._rules: list[_Rule] = []
        for place, pattern in enumerate(patterns):
            if len(pattern) > LONGEST_PATTERN:
                raise InvalidObject(f"{FIELD}[{place}]", f"is longer than {LONGEST_PATTERN} characters")
            line = _bytes(pattern).rstrip("\r\n")
            while line.endswith(" ") and not line.endswith("\\ "):
                line = line[:-1]
            if not line or line.startswith("#"):
                continue
            try:
                self._rules.append(_Rule.parse(line))
            except _Malformed:
                continue  # git matches nothing with it either
        self._folders: dict[str, int] = {"": -1}

    def selects(self, path: str, *, gitlink: bool = False) -> bool:
        """Whether the file is selected; `path` has `/` between its parts and none before.

        A gitlink (a submodule) is a folder, as in git: patterns that match the folder, or whatever is in it, select it.

        >>> [Patterns([each]).selects("libs/foo", gitlink=True) for each in ("libs/foo/", "libs/*/", "libs/foo/**")]
        [True, True, True]
        >>> Patterns(["libs/foo/"]).selects("libs/foo")
        False
        """
        inside = _bytes(path) + (_ANY_NAME if gitlink else "")
        decided = self._decided_by(inside, folder=False)
        return decided >= 0 and not self._rules[decided].negated

    def _decided_by(self, path: str, *, folder: bool) -> int:
        """Index of the last rule that matches the path or a folder above it; -1: none does."""
        above, _, name = path.rpartition("/")
        known = self._folders.get(above)
        if known is None:
            known = self._decided_by(above, folder=True)
            if len(self._folders) < _FOLDERS_KEPT:
                self._folders[above] = known
        for place in range(len(self._rules) - 1, known, -1):
            if self._rules[place].matches(path, name, folder=folder):
                return place
        return known


def _bytes(text: str) -> str:
    """One character for each byte: git matches bytes, so `?` is half an `é`."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def selected_hash(entries: Iterable[tuple[str, int, str]]) -> str:
    """SHA-256 (hex) over selected entries (path, mode, blob id), whatever their order.

    >>> selected_hash([("a", 0o100644, "1"), ("b", 0o100644, "2")])[:8]
    '7f3b0cd1'
    """
    digest = hashlib.sha256()
    for path, mode, blob in sorted(entries):
        digest.update(f"{mode:o} {blob} {path}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()

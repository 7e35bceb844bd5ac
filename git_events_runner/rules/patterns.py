"""File patterns as in .gitignore (gitignore(5)); a path costs its length times that of all patterns at worst.

Lists without `!` select exactly what `git check-ignore --no-index` calls ignored. With `!` the last pattern that
matches the path or a folder above it decides (git does not enter an ignored folder, so it could not select there
again). Tenants choose both the patterns and the names that they are matched with: no case of `automaton` is expensive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.bounds import MOST_PATTERNS, PATTERN_CHARACTERS, PATTERN_STEPS, PATTERNS_CHARACTERS

from .automaton import ANY, STAR, Automaton, Glob, State, Token, TooCostly

FIELD = "spec.sources.watchOn.files"
GITLINK = 0o160000  # mode of a submodule's entry in a tree
# A name that no pattern contains: a name in a submodule, for patterns that match everything in it.
_ANY_NAME = b"/" + b"\0" * 16
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_FOLDER_STEPS = 8  # a folder costs as much as this number of bytes
_SPECIAL = frozenset("*?[\\")


def _set(values: Iterable[int]) -> int:
    """Bytes as bits of an integer, except the slash: no name has it."""
    found = 0
    for value in values:
        found |= 1 << value
    return found & ANY


_CLASSES: Mapping[str, int] = {
    "alpha": _set(c for c in range(128) if chr(c).isalpha()),
    "digit": _set(b"0123456789"),
    "alnum": _set(c for c in range(128) if chr(c).isalnum()),
    "upper": _set(c for c in range(128) if chr(c).isupper()),
    "lower": _set(c for c in range(128) if chr(c).islower()),
    "space": _set(b" \t\n\v\f\r"),
    "blank": _set(b" \t"),
    "punct": _set(_PUNCTUATION),
    "xdigit": _set(b"0123456789abcdefABCDEF"),
    "cntrl": _set([*range(0x20), 0x7F]),
    "print": _set(range(0x20, 0x7F)),
    "graph": _set(range(0x21, 0x7F)),
}


class _Malformed(Exception):
    """A pattern that git never matches: an open bracket, a trailing backslash."""


def _tokens(text: str) -> tuple[Token, ...]:
    """One path component of a pattern."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c == "*":
            if not tokens or tokens[-1] is not STAR:
                tokens.append(STAR)
        elif c == "?":
            tokens.append(ANY)
        elif c == "[":
            token, at = _bracket(text, at)
            tokens.append(token)
        elif c == "\\":
            tokens.append(1 << ord(_at(text, at)))
            at += 1
        else:
            tokens.append(1 << ord(c))
    return tuple(tokens)


def _bracket(text: str, at: int) -> tuple[int, int]:
    """A bracket expression that begins before `at`; the bytes that it matches, and where it ends."""
    negated = text[at : at + 1] in {"!", "^"}
    at += int(negated)
    found = 0
    before: str | None = None
    first = True
    while True:
        c = _at(text, at)
        if c == "]" and not first:
            return (ANY & ~found if negated else ANY & found), at + 1
        first = False
        if c == "[" and text[at + 1 : at + 2] == ":":
            part, before, at = _class(text, at)
            found |= part
        elif c == "-" and before is not None and _at(text, at + 1) != "]":
            at += 1
            at += int(text[at] == "\\")
            low, high = ord(before), ord(_at(text, at))
            found |= (1 << high + 1) - (1 << low) if low <= high else 0
            before, at = None, at + 1
        else:
            at += int(c == "\\")
            before = _at(text, at)
            found |= 1 << ord(before)
            at += 1


def _class(text: str, at: int) -> tuple[int, str | None, int]:
    """A `[:name:]`, or a bare bracket where it is none."""
    end = text.find(":]", at + 2, at + 10)
    if end < 0 or "]" in text[at + 2 : end]:
        return 1 << ord("["), "[", at + 1
    found = _CLASSES.get(text[at + 2 : end])
    if found is None:
        raise _Malformed
    return found, None, end + 2


def _at(text: str, at: int) -> str:
    if at >= len(text):
        raise _Malformed
    return text[at]


def _glob(line: str) -> Glob:
    """One pattern. If it has a slash, git compares the text before the first wildcard by itself (`prefix`).

    So in `a**/b` the stars are at the beginning of the rest, and span folders.
    """
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
    parts = tuple(None if _spans(part) and not anywhere else _tokens(part) for part in rest.split("/"))
    return Glob(prefix=prefix.encode("latin-1"), parts=parts, anywhere=anywhere, folders_only=folders_only)


def _spans(part: str) -> bool:
    """Whether a component matches any number of folders: two stars or more, and nothing else."""
    return len(part) > 1 and not part.strip("*")


def path_rule(pattern: str) -> Callable[[bytes], bool] | None:
    """One pattern of a .gitattributes file, a character for each byte: whether it matches a file's path itself.

    None: it matches nothing. A pattern for a folder does not match its content, and no pattern negates another. The
    usual ones, a name or `*` and an ending, cost one comparison; the others raise TooCostly as the automaton does.
    """
    try:
        glob = _glob(pattern)
    except _Malformed:
        return None
    if glob.folders_only:
        return None
    name = pattern.removeprefix("**/")
    starred = name.startswith("*")
    if glob.anywhere and not _SPECIAL.intersection(name[starred:]):
        plain = name[starred:].encode("latin-1")
        if starred:
            return lambda path: path.rpartition(b"/")[2].endswith(plain)
        return lambda path: path.rpartition(b"/")[2] == plain
    automaton = Automaton([glob], most_steps=PATTERN_STEPS)

    return lambda path: automaton.run(automaton.start, path).file >= 0


def check(patterns: Sequence[str], field: str = FIELD) -> None:
    """Check a list's size, before anything reads the patterns.

    Raises:
        InvalidObject: There are too many, or one or all of them are too long.
    """
    if len(patterns) > MOST_PATTERNS:
        raise InvalidObject(field, f"has {len(patterns)} patterns; at most {MOST_PATTERNS} are allowed")
    for place, pattern in enumerate(patterns):
        if len(pattern) > PATTERN_CHARACTERS:
            raise InvalidObject(f"{field}[{place}]", f"is longer than {PATTERN_CHARACTERS} characters")
    characters = sum(map(len, patterns))
    if characters > PATTERNS_CHARACTERS:
        raise InvalidObject(
            field,
            f"has {characters} characters in all patterns; at most {PATTERNS_CHARACTERS} are allowed: use wildcards, "
            "or a trigger for each part",
        )


class Patterns:
    """A compiled list of patterns, for one thread."""

    def __init__(self, patterns: Sequence[str], *, most_steps: int = PATTERN_STEPS, field: str = FIELD) -> None:
        """Compile; `field` is what errors name.

        Raises:
            InvalidObject: As `check`.
        """
        check(patterns, field)
        self._field = field
        globs: list[Glob] = []
        self._negated: list[bool] = []
        for pattern in patterns:
            line = _bytes(pattern).decode("latin-1").rstrip("\r\n")
            while line.endswith(" ") and not line.endswith("\\ "):
                line = line[:-1]
            if not line or line.startswith("#"):
                continue
            negated = line.startswith("!")
            try:
                globs.append(_glob(line[1:] if negated else line))
            except _Malformed:
                continue  # git matches nothing with it either
            self._negated.append(negated)
        self._automaton = Automaton(globs, most_steps=most_steps)
        # The folders above the last path, from the root down: path with a slash, state after it, deciding pattern.
        self._above: list[tuple[bytes, State, int]] = [(b"", self._automaton.start, -1)]

    @property
    def steps(self) -> int:
        """The cost of matching so far; one step is about 100 ns."""
        return self._automaton.steps

    def selects(self, path: str, *, gitlink: bool = False) -> bool:
        """Whether the file is selected; `path` has `/` between its parts and none before. Cheapest in a tree's order.

        A gitlink (a submodule) is a folder, as in git: patterns that match the folder, or anything in it, select it.

        >>> [Patterns([each]).selects("libs/foo", gitlink=True) for each in ("libs/foo/", "libs/*/", "libs/foo/**")]
        [True, True, True]
        >>> Patterns(["libs/foo/"]).selects("libs/foo")
        False

        Raises:
            InvalidObject: Matching all paths so far took more steps than allowed.
        """
        try:
            decided = self._decided_by(_bytes(path) + (_ANY_NAME if gitlink else b""))
        except TooCostly:
            raise InvalidObject(
                self._field, "take too long to match with this commit's files; use fewer or shorter patterns"
            ) from None
        return decided >= 0 and not self._negated[decided]

    def _decided_by(self, path: bytes) -> int:
        """Index of the last pattern that matches the file or a folder above it; -1: none does."""
        above, run = self._above, self._automaton.run
        while not path.startswith(above[-1][0]):
            above.pop()
        folder, state, decided = above[-1]
        at = len(folder)
        while (slash := path.find(b"/", at)) >= 0:
            state = run(state, path[at:slash])
            decided = max(decided, state.folder)
            at = slash + 1
            state = run(state, b"/")
            self._automaton.steps += _FOLDER_STEPS
            above.append((path[:at], state, decided))
        return max(decided, run(state, path[at:]).file)


def _bytes(text: str) -> bytes:
    """Git matches bytes, so `?` is half an `é`."""
    return text.encode("utf-8", "surrogateescape")


NOTHING = hashlib.sha256().hexdigest()
"""The hash of no entry."""


def selected_hash(entries: Callable[[], Iterable[tuple[str, int, str]]]) -> str:
    """SHA-256 (hex) over selected entries (path, mode, blob id), independent of their order.

    `entries` returns them, once more if they are not in order; those of a tree are not held in memory.

    >>> selected_hash(lambda: [("a", 0o100644, "1"), ("b", 0o100644, "2")])[:8]
    'de840b1a'
    """
    digest = hashlib.sha256()
    last: tuple[str, int, str] | None = None
    for entry in entries():
        if last is not None and entry < last:
            break
        digest.update(_line(entry))
        last = entry
    else:
        return digest.hexdigest()
    digest = hashlib.sha256()
    for entry in sorted(entries()):
        digest.update(_line(entry))
    return digest.hexdigest()


def _line(entry: tuple[str, int, str]) -> bytes:
    path, mode, blob = entry
    return f"{mode:o} {blob} {path}\0".encode("utf-8", "surrogateescape")

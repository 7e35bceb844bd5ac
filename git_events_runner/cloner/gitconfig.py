"""Reads files in git's configuration format, such as `.gitmodules` (git-config, "CONFIGURATION FILE": Syntax)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from git_events_runner.errors import GitEventsRunnerError

MOST_BYTES = 1024 * 1024
_ESCAPED = {"n": "\n", "t": "\t", "b": "\b", '"': '"', "\\": "\\"}
_BLANKS = " \t\r"


class BrokenConfig(GitEventsRunnerError):
    """A file is not in git's configuration format."""


def entries(content: bytes) -> Iterator[tuple[str, str, str, str | None]]:
    """Section, subsection, key and value of each line; a key without `=` has None. Section and key in lower case.

    Raises:
        BrokenConfig: The file is broken or too large.
    """
    if len(content) > MOST_BYTES:
        raise BrokenConfig(f"the file is larger than {MOST_BYTES} bytes")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    reader = _Reader(text)
    section, subsection = "", ""
    while reader.skip_to_something():
        if reader.at("["):
            section, subsection = reader.header()
        else:
            key = reader.name()
            yield section, subsection, key, reader.value()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def at(self, character: str) -> bool:
        return self._text.startswith(character, self._place)

    def skip_to_something(self) -> bool:
        """Skip blanks, empty lines and comments; False at the end."""
        while self._place < len(self._text):
            character = self._text[self._place]
            if character in "#;":
                self._skip_line()
            elif character in _BLANKS + "\n":
                self._place += 1
            else:
                return True
        return False

    def header(self) -> tuple[str, str]:
        """`[section]`, `[section "subsection"]`, or the old `[section.subsection]`."""
        self._place += 1
        section = self._while(lambda each: (each.isascii() and each.isalnum()) or each in "-.").lower()
        subsection = ""
        if not self.at("]"):
            blanks = self._while(lambda each: each in _BLANKS)
            if not blanks or not self.at('"'):
                raise self._broken()
            subsection = self._quoted()
        else:
            section, _, subsection = section.partition(".")
        if not self.at("]"):
            raise self._broken()
        self._place += 1
        return section, subsection

    def name(self) -> str:
        """The name of a key."""
        found = self._while(lambda each: each.isascii() and (each.isalnum() or each == "-"))
        if not found or not found[0].isalpha():
            raise self._broken()
        self._while(lambda each: each in _BLANKS)
        return found.lower()

    def value(self) -> str | None:
        """What follows a key, to the end of its line."""
        if self._place >= len(self._text) or self.at("\n"):
            return None
        if not self.at("="):
            raise self._broken()
        self._place += 1
        self._while(lambda each: each in _BLANKS)
        out: list[str] = []
        kept = 0  # blanks at the end do not count, unless they are quoted
        quoted = False
        while self._place < len(self._text) and not self.at("\n"):
            character = self._text[self._place]
            if character in "#;" and not quoted:
                self._skip_line()
                break
            self._place += 1
            if character == '"':
                quoted = not quoted
                kept = len(out)
            elif character == "\\":
                out += self._escaped()
                kept = len(out)
            else:
                out.append(character)
                kept = len(out) if quoted or character not in _BLANKS else kept
        if quoted:
            raise self._broken()
        return "".join(out[:kept])

    def _escaped(self) -> str:
        """The replacement of a backslash and the character after it: nothing for one at the end of a line."""
        escaped = self._text[self._place : self._place + 1]
        self._place += 1
        if escaped == "\n":
            return ""
        if escaped not in _ESCAPED:
            raise self._broken()
        return _ESCAPED[escaped]

    def _quoted(self) -> str:
        out: list[str] = []
        self._place += 1
        while not self.at('"'):
            if self._place >= len(self._text) or self.at("\n"):
                raise self._broken()
            if self.at("\\"):
                self._place += 1
            out.append(self._text[self._place : self._place + 1])
            self._place += 1
        self._place += 1
        return "".join(out)

    def _while(self, holds: Callable[[str], bool]) -> str:
        start = self._place
        while self._place < len(self._text) and holds(self._text[self._place]):
            self._place += 1
        return self._text[start : self._place]

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._place)
        self._place = len(self._text) if end < 0 else end

    def _broken(self) -> BrokenConfig:
        return BrokenConfig(
            f"line {self._text.count(chr(10), 0, self._place) + 1} is not in git's configuration format"
        )

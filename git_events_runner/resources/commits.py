"""A commit's author and message, as git servers send them: bounded, and cleaned where people read them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

AUTHOR_CHARS = 40
SUBJECT_CHARS = 72
MESSAGE_CHARS = 4096
NAME_CHARS = 256
_HIDDEN = frozenset(("Cc", "Cf", "Co", "Cs", "Zl", "Zp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitText:
    """Name and e-mail address of the author, and the beginning of the message."""

    name: str
    email: str
    message: str

    @property
    def author(self) -> str:
        """The author for people: the name, else the address; one short line."""
        return one_line(self.name, AUTHOR_CHARS) or one_line(self.email, AUTHOR_CHARS)

    @property
    def subject(self) -> str:
        """The first line of the message for people."""
        return one_line(self.message.lstrip().split("\n", 1)[0], SUBJECT_CHARS)


def one_line(text: str, most: int) -> str:
    r"""Text of others as one short line, without control characters and those that change the direction of text.

    >>> one_line(" a\x1b[31m\u202e  b ", 40), one_line("x" * 50, 8)
    ('a[31m b', 'xxxxxxx…')
    """
    shown = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in _HIDDEN)
    line = " ".join(shown.split())
    return line if len(line) <= most else line[: most - 1] + "…"

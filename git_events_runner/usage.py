"""The command line's parser: a wrong word is told in one line, with what was likely meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

_SIMILAR = 0.6
_CHOICE = re.compile(r"argument COMMAND: invalid choice: '(.*?)' \(choose from", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on standard error, exit code 2."""

    commands: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments in `words`; a wrong one ends the program with its line."""
        first = words[0].partition("=")[0] if words else ""
        if first.startswith("-") and first not in self.flags():
            self.error(_unrecognized(words, self.flags()))
        found, extra = self.parse_known_args(words)
        if extra:
            parser = (self.commands.choices if self.commands else {}).get(getattr(found, "verb", None), self)
            parser.error(_unrecognized(extra, parser.flags()))
        return found

    def flags(self) -> list[str]:
        """All option words."""
        return [word for action in self._actions for word in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """End the program: one line, and where the help is."""
        choice = _CHOICE.match(message)
        if choice is not None and self.commands is not None:
            message = _command(choice[1], list(self.commands.choices))
        message = " ".join(message.removeprefix("argument ").split())
        end = "" if message.endswith("?") else ";"
        self.exit(2, f"{self.prog}: {message}{end} see {self.prog} --help\n")


def _unrecognized(extra: Sequence[str], flags: Sequence[str]) -> str:
    """The first option that is none (what follows may be its value), else the first word too many."""
    wrong = next((word.partition("=")[0] for word in extra if word.startswith("-")), None)
    if wrong is None:
        return f"{extra[0]!r} is one word too many"
    near = difflib.get_close_matches(wrong, flags, n=1, cutoff=_SIMILAR)
    return f"there is no option {wrong}" + (f"; did you mean {near[0]}?" if near else "")


def _command(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=_SIMILAR)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no command {word!r}; {hint}"

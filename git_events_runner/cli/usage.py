"""The command line's parser: a wrong word is reported in one line, with the likely intent."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from git_events_runner.resources.hints import meant

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
    hint = meant(wrong, flags)
    return f"there is no option {wrong}" + (f"; {hint}" if hint else "")


def _command(word: str, known: Sequence[str]) -> str:
    hint = meant(word, known, f"there are {', '.join(known)}")
    return f"there is no command {word!r}; {hint}"

"""Which commits are recorded without a run (`spec.ignore`): by their author, their message, or words that skip CI."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

from git_events_runner.resources.commits import CommitText, one_line
from git_events_runner.resources.ignore import Ignore

from .ignored import Ignored

_REASON_CHARS = 120
# https://docs.github.com/actions/managing-workflow-runs/skipping-workflow-runs, GitLab's `[skip ci]`, Azure's NO_CI.
_SKIP_CI = re.compile(
    r"\[(?:skip[ _-](?:ci|actions)|(?:ci|actions)[ _-]skip|no[ _-]ci)\]|\*\*\*no_ci\*\*\*|^skip-checks: ?true\s*$",
    re.IGNORECASE | re.MULTILINE,
)


def ignored_by(ignore: Ignore, commit: CommitText) -> str | None:
    r"""Why a commit is ignored, for people; None: it is not.

    >>> bot = CommitText(name="Renovate Bot", email="bot@example.com", message="Update x\n\n[skip ci]")
    >>> ignored_by(Ignore(authors=("renovate*",)), bot)
    "the author matches 'renovate*' (ignore.authors)"
    >>> ignored_by(Ignore(messages=("[skip ci]*",)), bot) is None, ignored_by(Ignore(skip_ci=True), bot)
    (True, "the message has '[skip ci]' (ignore.skipCi)")
    """
    author = (commit.name, commit.email, f"{commit.name} <{commit.email}>")
    for pattern in ignore.authors:
        if any(map(_glob(pattern).match, author)):
            return _reason(f"the author matches '{pattern}'", "authors")
    message = commit.message.strip()
    for pattern in ignore.messages:
        if any(map(_glob(pattern).match, (message.split("\n", 1)[0].rstrip(), message))):
            return _reason(f"the message matches '{pattern}'", "messages")
    found = _SKIP_CI.search(message) if ignore.skip_ci else None
    return _reason(f"the message has '{found[0].strip()}'", "skipCi") if found else None


def ignored_of(ignore: Ignore, commit: str, text: CommitText) -> Ignored | None:
    """What is recorded of an ignored commit; None: it is not ignored."""
    reason = ignored_by(ignore, text)
    return None if reason is None else Ignored.of(commit, reason, text)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern in which only `*` and `?` are special; matching takes time linear in both."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")), re.IGNORECASE)


def _reason(text: str, field: str) -> str:
    return f"{one_line(text, _REASON_CHARS)} (ignore.{field})"

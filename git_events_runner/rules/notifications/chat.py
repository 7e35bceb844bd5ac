"""Messages for people, as a title and a few lines; and the addresses in a Secret that they are sent to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from git_events_runner.errors import SecretUnusable

from .plain_text import plain
from .problem import PROBLEM, ProblemReport
from .report import CANCELLED, FAILED, RECOVERED, SUCCEEDED, RunReport

ADDRESSES_MAX = 10
ADDRESS_CHARS = 2048
_TITLE_CHARS, _LINE_CHARS, _MESSAGE_CHARS, _LOG_CHARS = 200, 400, 1000, 1500
_COMMIT_CHARS = 12

Level = Literal["info", "success", "warning", "failure"]
_LEVELS: dict[str, Level] = {SUCCEEDED: "success", RECOVERED: "success", FAILED: "failure", CANCELLED: "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """A message for people; everything in it that others chose is plain text."""

    title: str
    body: str
    level: Level


def chat_message(report: RunReport | ProblemReport, target_url: str | None) -> ChatMessage:
    """What people read about a run, or about a problem of a trigger."""
    name = f"{report.trigger.namespace}/{report.trigger.name}"
    if isinstance(report, ProblemReport):
        return _about_problem(name, report)
    title = f"{name}: run {report.number} {plain(report.summary, _TITLE_CHARS)}"
    attempt = f", attempt {report.attempt}" if not report.attempt.endswith("/1") else ""
    lines = [f"source {plain(report.source_name, _LINE_CHARS)}, commit {report.commit[:_COMMIT_CHARS]}{attempt}"]
    if report.why:
        lines.append(plain(report.why, _LINE_CHARS))
    if link := report.link(target_url):
        lines.append(link)
    lines += _of_log(report)
    return ChatMessage(title=title, body="\n".join(lines), level=_LEVELS.get(report.state, "info"))


def _of_log(report: RunReport) -> list[str]:
    """The last lines of the worker's log as plain text, the latest if there is no room for all."""
    if report.log_problem:
        return [report.log_problem]
    kept: list[str] = []
    for line in reversed(report.log):
        text = plain(line, _LINE_CHARS)
        if sum(map(len, kept)) + len(text) > _LOG_CHARS:
            break
        kept.append(text)
    return kept[::-1]


def _about_problem(name: str, report: ProblemReport) -> ChatMessage:
    reason = plain(report.reason, _TITLE_CHARS)
    if report.state == PROBLEM:
        body = plain(report.message, _MESSAGE_CHARS) or reason
        return ChatMessage(title=f"{name}: {reason}", body=body, level="warning")
    body = "The trigger is ready again."
    return ChatMessage(title=f"{name}: {reason} is solved", body=body, level="success")


def addresses_of(secret: bytes, known: Collection[str]) -> list[str]:
    """The addresses in a Secret's value: one a line.

    Args:
        secret: The value.
        known: The beginnings (before `://`) of addresses that are served.

    Raises:
        SecretUnusable: There is none, or one cannot be used; the message does not contain it.
    """
    lines = [line.strip() for line in secret.decode("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise _unusable("it has no address; write one a line, as slack://…")
    if len(found) > ADDRESSES_MAX:
        raise _unusable(f"it has {len(found)} addresses, and at most {ADDRESSES_MAX} are served")
    for number, address in enumerate(found, start=1):
        if problem := _problem(address, known):
            raise _unusable(f"address {number}: {problem}" if len(found) > 1 else problem)
    return found


def _problem(address: str, known: Collection[str]) -> str | None:
    scheme, separator, _ = address.partition("://")
    scheme = scheme.lower()
    if len(address) > ADDRESS_CHARS:
        return f"it has more than {ADDRESS_CHARS:,} characters"
    if not separator or not scheme.isalnum():
        return "it is no address; write it as slack://…"
    if scheme in {"http", "https"}:
        return f"{scheme}:// is no chat system: write the address as docs/chat.md has it, or use type webhook"
    if scheme not in known:
        return f"{scheme}:// is not served; docs/chat.md lists what is"
    return None


def _unusable(problem: str) -> SecretUnusable:
    return SecretUnusable(f"the Secret with the addresses cannot be used: {problem}", reason="SecretInvalid")

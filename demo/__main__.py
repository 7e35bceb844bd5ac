"""The story that `make demo` tells: six steps, each with what `git-events-runner local` prints, and the figures."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .gitserver import Repository, serving
from .program import Program, TooSlow, running

EXAMPLES = Path(__file__).parents[1] / "manifests" / "examples"
DELIVERIES = 25
LIMIT_S = 55.0
_INTERVAL = "5s"
_INDENT = "  "


def main() -> int:
    """Tell the story; 0 when everything came as told, else 1."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="git-events-runner-demo-") as folder:
            repository = Repository(Path(folder), "site")
            repository.push(index_html="<h1>one</h1>\n", README_md="A small web site.\n")
            with serving(repository):
                figures = _tell(repository, _manifests(repository, Path(folder)), color=color, started=started)
    except FileNotFoundError as missing:
        sys.stderr.write(f"demo: {missing.filename} is not there; install it (git is needed)\n")
        return 1
    except (TooSlow, OSError) as failed:
        sys.stderr.write(f"demo: {failed}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    _say(f"\n{figures}\n  total                  {time.monotonic() - started:.1f} s; no file and no process remains")
    return 0


def _manifests(repository: Repository, folder: Path) -> Path:
    """A copy of the examples, on this repository, with a shorter interval."""
    text = (EXAMPLES / "site.yaml").read_text(encoding="utf-8")
    text = re.sub(r"repoUri: \S+", f"repoUri: {repository.url}", text)
    text = re.sub(r"interval: \S+", f"interval: {_INTERVAL}", text)
    made = folder / "site.yaml"
    made.write_text(text, encoding="utf-8")
    return made


def _tell(repository: Repository, manifests: Path, *, color: bool, started: float) -> str:
    """The six steps; the figures."""
    _say("A new git repository, served over HTTP, and the manifests of manifests/examples on it, with an")
    _say("interval of 5 s. The indented lines are the output of `git-events-runner local`.")
    first = "A schedule trigger runs the current commit at its first check. The next one finds nothing new."
    _say(_heading(1, first, color=color))
    with running(
        [manifests], show=lambda line: _say(f"{_INDENT}{line}"), color=color, ends_at=started + LIMIT_S
    ) as program:
        story = _Story(program=program, repository=repository, color=color)
        story.first_look()
        story.first_call()
        found_s = story.push_of_a_text()
        story.call_without_a_page()
        storm = story.push_of_a_page()
        look = story.call_again()
        runs = sum(": job " in line.text for line in program.lines)
    return "\n".join((
        f"  3 pushes, {DELIVERIES + 3} calls     {runs} runs: the first commit for each trigger, then one per push",
        f"  push to Job, schedule  {found_s:.1f} s (poll interval: 5 s)",
        f"  call to Job, webhook   {storm.job_ms:.0f} ms, with {DELIVERIES} concurrent calls",
        f"  a push with {DELIVERIES} calls   {storm.requests} git requests, those of the clone included",
        f"  check, nothing new     {look.requests} git request, {look.size_bytes} bytes with headers, both directions",
    ))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a step has cost."""

    requests: int
    size_bytes: int
    job_ms: float = 0.0


class _Story:
    """Each step returns when what it tells has come."""

    def __init__(self, *, program: Program, repository: Repository, color: bool) -> None:
        self._program = program
        self._repository = repository
        self._color = color
        self._url = ""

    def first_look(self) -> None:
        self._url = self._program.wait(r"curl -X POST \S+$").text.rpartition(" ")[2]
        self._program.wait("job texts-.*: succeeded")
        self._program.wait("default/texts site: nothing new")

    def first_call(self) -> None:
        self._step(2, "A webhook trigger starts with its first call.")
        after = len(self._program.lines)
        self._call()
        self._program.wait("job publish-.*: succeeded", after=after)

    def push_of_a_text(self) -> float:
        self._step(3, "A push changes a text. No webhook is called: the schedule finds the commit.")
        after = len(self._program.lines)
        self._repository.push(README_md="A small web site, with a text of nine words.\n")
        pushed = time.monotonic()
        found = self._program.wait("default/texts .*new commit: job", after=after)
        self._program.wait("job texts-.*: succeeded", after=after)
        return found.at - pushed

    def call_without_a_page(self) -> None:
        self._step(4, "The webhook is called for that push, too. Its trigger selects pages only: nothing to run.")
        after = len(self._program.lines)
        self._call()
        self._program.wait("default/publish site: .*nothing to run", after=after)

    def push_of_a_page(self) -> _Asked:
        self._step(5, f"A push changes a page, with {DELIVERIES} concurrent calls: one run.")
        after, before = len(self._program.lines), self._repository.asked.requests
        self._repository.push(index_html="<h1>two</h1>\n")
        called = time.monotonic()
        with ThreadPoolExecutor(DELIVERIES) as pool:
            for done in [pool.submit(self._call) for _ in range(DELIVERIES)]:
                done.result()
        found = self._program.wait("default/publish site: .*new commit.*: job", after=after)
        self._program.wait("job publish-.*: succeeded", after=after)
        asked = self._repository.asked.requests - before
        return _Asked(requests=asked, size_bytes=0, job_ms=1000 * (found.at - called))

    def call_again(self) -> _Asked:
        self._step(6, "The webhook is called again: nothing new. The schedule finds no changed text: nothing to run.")
        after = len(self._program.lines)
        asked = self._repository.asked
        requests, size_bytes = asked.requests, asked.size_bytes
        self._call()
        self._program.wait("default/publish site: nothing new", after=after)
        cost = _Asked(requests=asked.requests - requests, size_bytes=asked.size_bytes - size_bytes)
        self._program.wait("default/texts .*nothing to run")
        return cost

    def _call(self) -> None:
        with urllib.request.urlopen(urllib.request.Request(self._url, method="POST"), timeout=20) as answer:
            answer.read()

    def _step(self, number: int, text: str) -> None:
        _say(_heading(number, text, color=self._color))


def _heading(number: int, text: str, *, color: bool) -> str:
    return f"\n\x1b[1m{number}. {text}\x1b[0m\n" if color else f"\n{number}. {text}\n"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

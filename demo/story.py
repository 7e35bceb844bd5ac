"""The steps of the demo: each acts, and returns when `git-events-runner local` has printed the result."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .forge import Forge
from .gitserver import Repository
from .program import Program, TooSlow

EXAMPLES = Path(__file__).parents[1] / "manifests" / "examples"
DELIVERIES = 25
_INTERVAL = "5s"
_PAGE_TRIES = 50
_PAGE_WAIT_S = 0.1


def manifests_for(url: str, folder: Path) -> Path:
    """A copy of the examples in a folder, for the repository at `url`, with a shorter interval; its path."""
    text = (EXAMPLES / "site.yaml").read_text(encoding="utf-8")
    text = re.sub(r"repoUri: \S+", f"repoUri: {url}", text)
    text = re.sub(r"interval: \S+", f"interval: {_INTERVAL}", text)
    copy = folder / "site.yaml"
    copy.write_text(text, encoding="utf-8")
    return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The git requests of a step and their bytes, and the time until its Job existed."""

    requests: int
    size_bytes: int
    job_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPage:
    """The status page of a trigger: its address, and the words on it that state the result of the last run."""

    address: str
    shown: str


class Story:
    """The steps, in their order; `announce` prints the number and the title of each from the second on."""

    def __init__(
        self, program: Program, repository: Repository, forge: Forge, *, announce: Callable[[int, str], None]
    ) -> None:
        self._program = program
        self._repository = repository
        self._forge = forge
        self._announce = announce
        self._url = ""
        self._page_pushed = 0

    def first_check(self) -> None:
        self._url = self._program.wait(r"curl -X POST \S+/default/publish$").text.rpartition(" ")[2]
        self._program.wait("job texts-.*: succeeded")
        self._program.wait("default/texts site: nothing new")

    def first_call(self) -> None:
        self._announce(2, "A webhook trigger starts with its first call.")
        after = len(self._program.lines)
        self._call()
        self._program.wait("job publish-.*: succeeded", after=after)

    def push_of_a_text(self) -> float:
        self._announce(3, "A push changes a text. No webhook is called: the schedule finds the commit.")
        after = len(self._program.lines)
        self._repository.push(README_md="A small web site, with a text of nine words.\n")
        pushed = time.monotonic()
        found = self._program.wait("default/texts .*new commit: job", after=after)
        self._program.wait("job texts-.*: succeeded", after=after)
        return found.at - pushed

    def call_without_a_page(self) -> None:
        self._announce(4, "The webhook is called for that push, too. Its trigger selects pages only: nothing to run.")
        after = len(self._program.lines)
        self._call()
        self._program.wait("default/publish site: .*nothing to run", after=after)

    def push_of_a_page(self) -> Cost:
        self._announce(5, f"A push changes a page, with {DELIVERIES} concurrent calls: one run.")
        after, before = len(self._program.lines), self._repository.asked.requests
        self._page_pushed = after
        self._repository.push(index_html="<h1>two</h1>\n")
        called = time.monotonic()
        with ThreadPoolExecutor(DELIVERIES) as pool:
            for done in [pool.submit(self._call) for _ in range(DELIVERIES)]:
                done.result()
        found = self._program.wait("default/publish site: .*new commit.*: job", after=after)
        self._program.wait("job publish-.*: succeeded", after=after)
        requests = self._repository.asked.requests - before
        return Cost(requests=requests, size_bytes=0, job_ms=1000 * (found.at - called))

    def call_again(self) -> Cost:
        title = "The schedule finds no changed text: nothing to run. The webhook is called again: nothing new."
        self._announce(6, title)
        self._program.wait("default/texts .*nothing to run", after=self._page_pushed)
        after = len(self._program.lines)
        count = self._repository.asked
        requests, size_bytes = count.requests, count.size_bytes
        self._call()
        self._program.wait("default/publish site: nothing new", after=after)
        return Cost(requests=count.requests - requests, size_bytes=count.size_bytes - size_bytes)

    def pull_request(self) -> None:
        self._announce(7, "A pull request is opened, then closed. The demo reports it, signed, as a forge does.")
        after, url = len(self._program.lines), self._url.replace("/publish", "/pulls")
        commit = self._repository.propose(1, index_html="<h1>three</h1>\n")
        self._forge.deliver(url, action="opened", number=1, commit=commit)
        self._program.wait("job pulls-.*: succeeded", after=after)
        after = len(self._program.lines)
        self._forge.deliver(url, action="closed", number=1, commit=commit)
        self._program.wait("job pulls-.*: succeeded", after=after)

    def failing_run(self) -> StatusPage:
        self._announce(8, "A push empties a text: its run fails, with the worker's last words and the exit code.")
        after = len(self._program.lines)
        self._repository.push(README_md="")
        self._program.wait("job texts-.*: failed", after=after)
        return self._status_page("default/texts")

    def _status_page(self, trigger: str) -> StatusPage:
        """The page of a ScheduleTrigger, when it shows the failure.

        Raises:
            TooSlow: It does not show it.
        """
        served = self._program.wait(r"status +http\S+/ui/$").text.rpartition(" ")[2]
        address = f"{served}triggers/ScheduleTrigger/{trigger}"
        for _ in range(_PAGE_TRIES):
            with urllib.request.urlopen(address, timeout=20) as response:
                text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.read().decode()))
            if found := re.search(r"Failed (exit code \d+)", text):
                return StatusPage(address=address, shown=f"Failed, {found[1]}")
            time.sleep(_PAGE_WAIT_S)
        message = f"{address} does not show the failed run"
        raise TooSlow(message)

    def _call(self) -> None:
        with urllib.request.urlopen(urllib.request.Request(self._url, method="POST"), timeout=20) as response:
            response.read()

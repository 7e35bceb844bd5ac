"""`make demo`: runs the story, then prints what it cost and what the reader can do next."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from .forge import Forge
from .gitserver import Repository, serving
from .program import TooSlow, running
from .story import DELIVERIES, Story, manifests_for

LIMIT_S = 120.0
_INDENT = "  "
_NEXT = """
Your own next step: three commands push a repository of yours, and run it. `make play` keeps the git
server and the controller running until Ctrl-C; type the other two in a second terminal.

  make play
  cd A-REPOSITORY-OF-YOURS
  git push --force http://127.0.0.1:8418/site.git HEAD:main

After that: docs/tutorials/first-trigger.md, on a cluster."""


def main() -> int:
    """Run the story; 0 when everything happened as it should, else 1."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="git-events-runner-demo-") as folder:
            repository = Repository(Path(folder), "site")
            repository.push(index_html="<h1>one</h1>\n", README_md="A small web site.\n")
            with serving(repository):
                costs = _run_story(repository, Path(folder), color=color, started=started)
    except FileNotFoundError as missing:
        sys.stderr.write(f"demo: {missing.filename} is not there; install it (git is needed)\n")
        return 1
    except (TooSlow, OSError) as failed:
        sys.stderr.write(f"demo: {failed}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    _print(f"\n{costs}\n  total                  {time.monotonic() - started:.1f} s; no file and no process remains")
    _print(_NEXT)
    return 0


def _run_story(repository: Repository, folder: Path, *, color: bool, started: float) -> str:
    """All steps; their costs, as lines."""
    forge = Forge(repository=repository.url, secret=secrets.token_hex(32))
    manifests = [manifests_for(repository.url, folder), forge.manifests(folder)]
    _print("A new git repository, served over HTTP, and the manifests of manifests/examples on it, with an")
    _print("interval of 5 s; step 7 has demo/pull-requests.yaml. The indented lines are the output of")
    _print("`git-events-runner local`.")
    first = "A schedule trigger runs the current commit at its first check. The next one finds nothing new."
    _print(_heading(1, first, color=color))
    with running(
        manifests, show=lambda line: _print(f"{_INDENT}{line}"), color=color, ends_at=started + LIMIT_S
    ) as program:
        story = Story(
            program, repository, forge, announce=lambda number, text: _print(_heading(number, text, color=color))
        )
        story.first_check()
        story.first_call()
        found_s = story.push_of_a_text()
        story.call_without_a_page()
        burst = story.push_of_a_page()
        check = story.call_again()
        story.pull_request()
        page = story.failing_run()
        runs = sum(": job " in line.text for line in program.lines)
        _print(f"\n  Where to look: the lines above, and the trigger's status page, which shows `{page.shown}`:")
        _print(f"  {page.address}")
        _print("  On a cluster also `kubectl describe scheduletrigger texts`, and the command that names the cause")
        _print("  in its first line: `git-events-runner explain scheduletrigger/texts`.\n")
    return "\n".join((
        f"  5 pushes, {DELIVERIES + 5} calls     {runs} runs: first commits, one per push, the closed pull request",
        f"  push to Job, schedule  {found_s:.1f} s (poll interval: 5 s)",
        f"  call to Job, webhook   {burst.job_ms:.0f} ms, with {DELIVERIES} concurrent calls",
        f"  a push with {DELIVERIES} calls   {burst.requests} git requests, those of the clone included",
        f"  check, nothing new     {check.requests} git request, {check.size_bytes} bytes, headers included",
    ))  # fmt: skip


def _heading(number: int, text: str, *, color: bool) -> str:
    return f"\n\x1b[1m{number}. {text}\x1b[0m\n" if color else f"\n{number}. {text}\n"


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

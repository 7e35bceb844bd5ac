"""`make play`: a git server to push to, and the controller on it, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from .gitserver import Repository, serving
from .program import running
from .story import manifests_for

PORT = 8418
_FOREVER_S = 10 * 365 * 86_400.0
_INTRODUCTION = """\
The repository {url} has a schedule trigger for its texts (*.md) and a webhook trigger for its pages.
Push a repository of yours; its texts are counted within 5 s. In a second terminal:

  cd A-REPOSITORY-OF-YOURS
  git push --force {url} HEAD:main

or change the one that is there:

  git clone {url} && cd site
  echo 'A sentence of mine.' >>README.md && git commit --all --message 'Add a sentence'
  git push

The address after `status` below is the status page. Ctrl-C ends it, and removes the repository.
"""


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="make play", description="A git server to push to, and the controller on it.")
    parser.add_argument("--port", type=int, default=PORT, help=f"port of the git server on loopback (default: {PORT})")
    port = parser.parse_args(arguments).port
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="git-events-runner-play-") as folder:
        repository = Repository(Path(folder), "site")
        repository.push(index_html="<h1>one</h1>\n", README_md="A small web site.\n")
        try:
            with serving(repository, port=port, pushes=True):
                _run(repository, Path(folder))
        except KeyboardInterrupt:
            return 130
        except OSError as failed:
            sys.stderr.write(f"play: port {port}: {failed.strerror}; make play PORT=8419 uses another one\n")
            return 1
    return 0


def _run(repository: Repository, folder: Path) -> None:
    """Run the controller until a signal."""
    _print(_INTRODUCTION.format(url=repository.url))
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    ends_at = time.monotonic() + _FOREVER_S
    with running([manifests_for(repository.url, folder)], show=_print, color=color, ends_at=ends_at):
        threading.Event().wait()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

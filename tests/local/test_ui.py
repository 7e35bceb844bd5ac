"""`local --ui`: the status page of a controller without a cluster, with its decisions and its git servers."""

import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from demo.gitserver import Repository

from .conftest import write
from .test_command import COMMAND

_PATIENCE_S = 60


def page_with(url: str, *texts: str) -> str:
    """The page, when it has all texts."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        with urllib.request.urlopen(url, timeout=_PATIENCE_S) as response:
            shown = response.read().decode()
        if all(text in shown for text in texts):
            return shown
        assert time.monotonic() < give_up, f"{texts} not in {shown}"
        time.sleep(0.1)


def test_the_page_of_a_controller_shows_its_run_and_its_checks(repository: Repository, tmp_path: Path):
    """A run that succeeded, the check that found nothing new after it, the git server, the leader, and the limit."""
    folder = write(tmp_path / "m", url=repository.url)
    with subprocess.Popen([*COMMAND, "--ui", str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            url = next(
                found[1] for line in lines if (found := re.match(r"status +(http://127\.0\.0\.1:\d+/ui/)$", line))
            )
            page_with(f"{url}triggers/ScheduleTrigger/default/nightly", "Succeeded", "Nothing new", "first check")
            overview = page_with(url, "this replica", "of 16")
            assert "All" in overview or "is fine" in overview
            page_with(f"{url}hosts", "127.0.0.1", "Responds")
            with urllib.request.urlopen(url.replace("/ui/", "/metrics"), timeout=_PATIENCE_S) as response:
                assert b"git_events_runner_leading 1.0" in response.read()
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE_S) in {0, 130, 143}
        finally:
            process.kill()


def test_once_has_no_page(tmp_path: Path):
    """With --once no port is bound: both options together are wrong use."""
    done = subprocess.run([*COMMAND, "--ui", "--once", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("git-events-runner: --ui: there is no page with --once")

"""`git-events-runner local` as a user starts it."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from demo.gitserver import Repository
from git_events_runner.local.once import Once
from tests.servers.receiver import Receiver

from .conftest import write

COMMAND = (sys.executable, "-m", "git_events_runner", "local", "--webhooks-port", "0", "--utility-port", "0")


def once(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--once", str(folder), *more], check=False, capture_output=True, text=True, timeout=60
    )


def test_once_succeeds(repository: Repository, tmp_path: Path):
    """With --once the schedule is checked, its run is awaited, and all is told in plain lines; the exit code is 0."""
    done = once(write(tmp_path / "m", url=repository.url))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 source checked, 1 run, none failed" in done.stdout
    assert re.search(r"\[nightly-\w+\] running [0-9a-f]{40}", done.stdout)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_once_checks_once(repository: Repository, tmp_path: Path):
    """With --once a trigger with a schedule is checked once, of either kind, also where a run outlasts its interval."""
    folder = write(tmp_path / "m", url=repository.url, command='[sh, -c, "sleep 4"]')
    text = (folder / "all.yaml").read_text()
    text = text.replace("    names: [app]\n", "    names: [app]\n    watchOn: {onChangeOnly: false}\n")
    (folder / "all.yaml").write_text(
        text.replace("multiSource: true}", "multiSource: true}\n  schedule: {cron: '* * * * *'}")
    )
    done = once(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 sources checked, 2 runs, none failed" in done.stdout
    assert done.stdout.count(": started") == 2


@pytest.mark.parametrize(
    ("field", "summary"),
    [
        ("suspend: true", "every 1s, suspended"),
        ("suspend: true", "nothing to check: no trigger has a schedule, except suspended ones"),
        ("firstCheck: Record", "1 source checked, 0 runs, none failed"),
    ],
)
def test_once_runs_nothing_where_nothing_is_to_run(repository: Repository, tmp_path: Path, field: str, summary: str):
    """A trigger that is suspended is not waited for; one that records its first commit is checked."""
    folder = write(tmp_path / "m", url=repository.url)
    text = (folder / "all.yaml").read_text()
    (folder / "all.yaml").write_text(text.replace("  schedule:", f"  {field}\n  schedule:"))
    done = once(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary in done.stdout


@pytest.mark.parametrize(
    ("fields", "token", "code", "summary"),
    [
        ("  suspend: true\n", "now", 0, "0 sources checked, 1 run, none failed"),
        ("  firstCheck: Record\n", "now", 0, "1 source checked, 1 run, none failed"),
        ("  suspend: true\n", "x" * 129, 1, "more than 128 characters"),
    ],
)
def test_once_waits_for_a_requested_run(
    repository: Repository, tmp_path: Path, fields: str, token: str, code: int, summary: str
):
    """A run that an annotation requests is made and awaited; one that cannot be is a failure."""
    folder = write(tmp_path / "m", url=repository.url)
    text = (folder / "all.yaml").read_text().replace("  schedule:", f"{fields}  schedule:")
    noted = f"annotations: {{git-events-runner.rs/run-requested-at: '{token}'}}"
    (folder / "all.yaml").write_text(text.replace("{name: nightly}", f"{{name: nightly, {noted}}}"))
    done = once(folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert summary in done.stdout.splitlines()[-1]


def test_once_serves_nothing(repository: Repository, tmp_path: Path):
    """With --once no port is bound (a taken one is no problem), and no URL but the source's is printed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = once(write(tmp_path / "m", url=repository.url), "--webhooks-port", port, "--utility-port", port)
    assert done.returncode == 2  # the same port twice is a mistake
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = once(write(tmp_path / "m", url=repository.url), "--webhooks-port", port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"https?://\S+", done.stdout) == [repository.url]


def test_once_with_nothing_to_check(tmp_path: Path):
    """Without a schedule there is nothing to check; that is said, and no failure."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    done = once(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to check: no trigger has a schedule" in done.stdout


def test_once_fails_with_its_run(repository: Repository, tmp_path: Path):
    """A run that fails makes --once end with 1, and says why."""
    done = once(write(tmp_path / "m", url=repository.url, command="[no-such-command]"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "command not found: no-such-command" in done.stdout


def test_once_fails_with_a_message_that_is_not_accepted(repository: Repository, tmp_path: Path):
    """With --send; without it the message is printed, and no failure."""
    folder = write(tmp_path / "m", url=repository.url)
    with Receiver().running() as receiver:
        receiver.answers = [422]
        (folder / "notifier.yaml").write_text(
            "apiVersion: git-events-runner.rs/v1alpha1\nkind: Notifier\nmetadata: {name: hook}\nspec:\n"
            f"  type: webhook\n  address: {receiver.url}/\n  secretRef: {{name: key}}\n  events: [Succeeded]\n"
            "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {secret: 0123456789abcdef}\n"
        )
        done = once(folder, "--send")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "failed: message of hook about" in done.stdout
        assert len(receiver.got) == 1
        done = once(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(receiver.got) == 1


def test_once_fails_while_messages_wait():
    """For a receiver that does not answer."""
    waiting = Once([])
    assert not waiting.failed
    waiting.not_sent()
    assert waiting.failed
    assert "messages that no receiver has accepted" in waiting.summary


def test_once_fails_with_an_unreachable_repository(tmp_path: Path):
    """A repository that cannot be reached makes --once end with 1, and says why."""
    done = once(write(tmp_path / "m"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Unreachable: http://127.0.0.1:9/app.git: no connection to 127.0.0.1:9: connection refused;" in done.stdout


@pytest.mark.parametrize("lines", [0, 1, 7])
def test_a_reader_that_goes_away(repository: Repository, tmp_path: Path, lines: int):
    """A closed pipe ends the program in order and without a word, before its first line or while a run prints."""
    folder = write(tmp_path / "m", url=repository.url, command='[sh, -c, "while echo at work; do sleep 0.1; done"]')
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, str(folder)], text=True, **pipes) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 0


def test_wrong_manifests(tmp_path: Path):
    """Wrong manifests end with 2 and one line a problem on stderr."""
    folder = write(tmp_path / "m", url="nonsense")
    done = once(folder)
    assert done.returncode == 2
    assert f"{folder}/all.yaml:5: spec.repoUri: must be" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_policy_that_refuses(tmp_path: Path):
    """What the policy of the manifests' own runtime config refuses ends with 2, as `check` reports it."""
    folder = write(tmp_path / "m")
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: git-events-runner-config}\ndata:\n"
    (folder / "config.yaml").write_text(f"{config}  runtimeConfig: |\n    policy: {{minimumIntervalSeconds: 60}}\n")
    done = once(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"all\.yaml:20: spec\.schedule\.interval: .*the installation allows 60 s or longer", done.stderr)


def test_kept_folders(repository: Repository, tmp_path: Path):
    """With --keep the working directory of the run stays, and where it is is told."""
    done = once(write(tmp_path / "m", url=repository.url), "--keep")
    kept = Path(re.search(r"working directories kept in (\S+)", done.stdout)[1])
    assert list(kept.rglob("run.sh"))
    subprocess.run(["rm", "-rf", str(kept)], check=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals(repository: Repository, tmp_path: Path, number: signal.Signals, code: int):
    """A called webhook runs its action; a signal then ends everything in order, and the run under way is named."""
    folder = write(tmp_path / "m", url=repository.url, command='[sh, -c, "echo at work; sleep 60"]')
    with subprocess.Popen([*COMMAND, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        url = None
        for line in process.stdout:
            found = re.search(r"curl -X POST (\S+/push)$", line)
            if found:
                url = found[1]
            if url and "at work" in line:
                break
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
            assert answer.status == 202
        for line in process.stdout:
            if line.startswith("[push-") and "at work" in line:
                break
        started = time.monotonic()
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(timeout=30) == code, rest
        assert re.search(r"stopping, cancelled jobs? .*\bpush-[a-z2-7]{16}", rest)
        assert time.monotonic() - started < 20
        assert "Traceback" not in rest

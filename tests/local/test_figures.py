"""The figures that are promised of `local`."""

import contextlib
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demo.gitserver import Repository
from demo.program import running
from git_events_runner.resources.kinds import KINDS
from tests.patience import timed

PUSHES, DELIVERIES, REQUESTS = 20, 25, 8
TRIGGERS, START_S = 1000, 5.0


def document(kind: str, name: str, spec: dict) -> str:
    """A manifest; JSON is YAML."""
    made = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return f"---\n{json.dumps(made)}\n"


def hook(name: str) -> str:
    spec = {"sources": {"names": ["app"]}, "action": {"kind": "Action", "name": "deploy"}}
    return document("WebhookTrigger", name, {**spec, "webhook": {"multiSource": True}})


def schedule(name: str) -> str:
    spec = {"sources": {"names": ["app"]}, "action": {"kind": "Action", "name": "deploy"}}
    return document("ScheduleTrigger", name, {**spec, "schedule": {"interval": "1h"}})


def test_pushes_with_many_deliveries(repository: Repository, tmp_path: Path):
    """20 pushes with 25 deliveries each at once: 20 runs, and 8 git requests a push at most, clones included."""
    manifests = tmp_path / "all.yaml"
    manifests.write_text(
        document("GitRepo", "app", {"repoUri": repository.url})
        + document("Action", "deploy", {"actionJob": {"command": ["true"]}})
        + hook("push")
    )
    ends_at = time.monotonic() + 270
    with (
        running([manifests], show=lambda _: None, color=False, ends_at=ends_at) as program,
        ThreadPoolExecutor(DELIVERIES) as pool,
    ):
        url = program.wait(r"curl -X POST \S+$").text.rpartition(" ")[2]

        def deliver(_: int) -> int:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as answer:
                return answer.status

        for number in range(PUSHES):
            after = len(program.lines)
            commit = repository.push(number_txt=f"{number}\n")
            assert set(pool.map(deliver, range(DELIVERIES))) == {202}
            program.wait(rf"push app: {commit[:8]}, .*: job push-", after=after)
            program.wait(r"job push-\w+: succeeded", after=after)
        asked = repository.asked.requests
        deliver(0)
        program.wait("nothing new", after=len(program.lines) - 1)
        runs = [line.text for line in program.lines if line.text.endswith(": succeeded")]
    print(f"{PUSHES} pushes, {PUSHES * DELIVERIES} deliveries: {len(runs)} runs, {asked} git requests")
    assert len(runs) == len(set(runs)) == PUSHES
    assert asked <= PUSHES * REQUESTS


def test_many_triggers_start_soon(tmp_path: Path):
    """1,000 triggers in one folder: what is watched is told, and webhooks are served, within 5 s."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "app.yaml").write_text(
        document("GitRepo", "app", {"repoUri": "http://127.0.0.1:9/app.git"})
        + document("Action", "deploy", {"actionJob": {"command": ["true"]}})
    )
    for number in range(TRIGGERS // 2):
        (folder / f"schedule-{number}.yaml").write_text(schedule(f"schedule-{number}"))
        (folder / f"hook-{number}.yaml").write_text(hook(f"hook-{number}"))
    with contextlib.ExitStack() as ends:
        with timed() as watch:
            shown = running([folder], show=lambda _: None, color=False, ends_at=time.monotonic() + 120)
            program = ends.enter_context(shown)
            program.wait("Ctrl-C stops")
        assert any(line.text.strip() == f"and {TRIGGERS // 2 - 20} more webhooks" for line in program.lines)
    assert watch.fair_s <= START_S

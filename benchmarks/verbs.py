"""How long each verb of the command line takes in an installation with 1,000 triggers; `python -m benchmarks.verbs`.

The API server is a real one, each verb a process of its own, as a user starts it: the interpreter's start and the
imports are part of its time. Three runs each; the best one counts, since other programs on the machine only add. Exit
code 1 if a verb takes more than a second.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from benchmarks.world import World
from git_events_runner.resources.job import RunKey, job_name
from tests.cluster.api import OURS

_TRIGGERS, _REPOSITORIES, _JOBS, _RUNS_KEPT = 1000, 100, 500, 10
_TIMES, _LIMIT_S, _PATIENCE_S = 3, 1.0, 60
_SHA = "0123456789012345678901234567890123456789"
_AT = "2026-01-01T00:00:00Z"
_GROUP = "git-events-runner.rs"
_VERSION = f"{_GROUP}/v1alpha1"
_PROGRAM = (sys.executable, "-m", "git_events_runner")


def spec(number):
    """A trigger on one of the repositories, every hour."""
    watch = {"onChangeOnly": True, "reference": {"branch": "main"}}
    sources = {"kind": "GitRepo", "names": [source(number)], "watchOn": watch}
    return {"sources": sources, "action": {"kind": "Action", "name": "build"}, "schedule": {"interval": "1h"}}


def source(number):
    """The name of a trigger's repository."""
    return f"app-{number % _REPOSITORIES}"


def status(number):
    """The status of a trigger that has run ten times; its newest run waits for a slot where it has a Job."""
    name, waits = source(number), number < _JOBS
    run = {"source": name, "commit": _SHA, "reason": "fire-changed", "queued": _AT, "started": _AT}
    history = [
        {**run, "number": each, "job": f"t-{number}-{each}", "phase": "Succeeded", "finished": _AT}
        for each in range(_RUNS_KEPT, 0, -1)
    ]
    last = {"name": f"t-{number}-{_RUNS_KEPT}", "phase": "Queued" if waits else "Succeeded", "commit": _SHA}
    entry = {"commitHash": _SHA, "changed": _AT, "runs": _RUNS_KEPT, "lastJob": last}
    ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "watching", "lastTransitionTime": _AT}
    return {
        "state": "Idle",
        "observedGeneration": 1,
        "checkedSources": {name: entry},
        "history": history,
        "conditions": [ready],
    }


def waiting_job(namespace, number, uid):
    """A Job that waits for a slot."""
    run = RunKey(trigger_uid=uid, source=source(number), number=_RUNS_KEPT)
    labels = {f"{_GROUP}/trigger-kind": "ScheduleTrigger", f"{_GROUP}/trigger-name": f"t-{number}"}
    notes = {f"{_GROUP}/run": str(run), f"{_GROUP}/commit": _SHA, f"{_GROUP}/admission": "waiting"}
    container = {"name": "action-worker", "image": "worker"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(f"t-{number}", run),
            "namespace": namespace,
            "labels": labels | {f"{_GROUP}/controller-identity": "controller"},
            "annotations": notes,
        },
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def fill(world, namespace):
    """The installation: repositories, triggers with statuses, Jobs that wait."""
    api = world.api
    for number in range(_REPOSITORIES):
        uri = f"https://git.example.com/team/{source(number)}.git"
        api.ours("GitRepo", namespace, source(number), {"repoUri": uri})

    def one(number):
        made = api.ours("ScheduleTrigger", namespace, f"t-{number}", spec(number))
        path = f"{OURS}/namespaces/{namespace}/scheduletriggers/t-{number}/status"
        api.patch(path, {"status": status(number)})
        if number < _JOBS:
            job = waiting_job(namespace, number, made["metadata"]["uid"])
            api.post(f"/apis/batch/v1/namespaces/{namespace}/jobs", job)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(_TRIGGERS)))


def manifests(folder):
    """A folder with as many manifests of triggers as the installation has, each in a file, and what they name."""
    action = {"apiVersion": _VERSION, "kind": "Action", "metadata": {"name": "build"}, "spec": {"actionJob": {}}}
    objects = [action]
    for number in range(_REPOSITORIES):
        uri = f"https://git.example.com/team/{source(number)}.git"
        repository = {"apiVersion": _VERSION, "kind": "GitRepo", "metadata": {"name": source(number)}}
        objects.append(repository | {"spec": {"repoUri": uri}})
    for number in range(_TRIGGERS):
        trigger = {"apiVersion": _VERSION, "kind": "ScheduleTrigger", "metadata": {"name": f"t-{number}"}}
        objects.append(trigger | {"spec": spec(number)})
    for obj in objects:
        path = folder / f"{obj['kind'].lower()}-{obj['metadata']['name']}.yaml"
        path.write_text(yaml.safe_dump(obj, sort_keys=False), encoding="utf-8")
    return str(folder)


def commands(folder):
    """What is measured, as it is typed; `explain` of a trigger whose run waits reads the Jobs of the installation."""
    waits, other = "scheduletrigger/t-7", "scheduletrigger/t-900"
    return [
        ["status"],
        ["status", "-o", "json"],
        ["status", other],
        ["explain", waits],
        ["explain", other],
        ["logs", other],
        ["trigger", other],
        ["rerun", other],
        ["suspend", other],
        ["resume", other],
        ["doctor"],
        ["check", folder],
        ["check", folder, "--offline"],
        ["next", folder, "-n", "1"],
        ["ui", "--port", "0"],
    ]


def measured(words, options):
    """The wall clock time and the CPU time of one run; of `ui` until its page is served."""
    before, started = os.times(), time.perf_counter()
    command = [*_PROGRAM, *words, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if words[0] == "ui":
            assert process.stdout.readline().startswith(b"status page of "), words
            wall_s = time.perf_counter() - started
            process.terminate()
            process.communicate(timeout=_PATIENCE_S)
        else:
            out, _ = process.communicate(timeout=_PATIENCE_S)
            wall_s = time.perf_counter() - started
            assert process.returncode == 0 or words[0] in {"logs", "doctor", "explain"}, (words, out[-500:])
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return wall_s, cpu_s


def main():
    """Print a row for each verb; the exit code."""
    slow = 0
    with World() as world, tempfile.TemporaryDirectory() as folder:
        namespace = world.namespace()
        fill(world, namespace)
        config = world.plane.kubeconfig(world.plane.admin_token, namespace=namespace)
        path = manifests(Path(folder))
        print(f"{_TRIGGERS:,} triggers, {_REPOSITORIES} repositories, {_JOBS} Jobs; best of {_TIMES}\n")
        print("| verb | wall clock | CPU |\n| --- | --- | --- |")
        for words in commands(path):
            options = [] if words[0] == "next" or "--offline" in words else ["--kubeconfig", str(config)]
            times = [measured(words, options) for _ in range(_TIMES)]
            wall_s, cpu_s = (min(each) for each in zip(*times, strict=True))
            shown = " ".join("FOLDER" if word == path else word for word in words)
            print(f"| `{shown}` | {wall_s:.2f} s | {cpu_s:.2f} s |", flush=True)
            slow += wall_s > _LIMIT_S
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

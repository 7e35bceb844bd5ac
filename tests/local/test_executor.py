"""Jobs as real local processes: conditions, deadlines, clean-up."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from demo.gitserver import Repository
from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiNotFound
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.executor.containers import LocalCommand
from git_events_runner.local.executor.executor import Executor
from git_events_runner.local.executor.processes import execute, marked
from git_events_runner.resources.description import SOURCE_VARIABLE, SourceDescription
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs import changes
from git_events_runner.serving import running

JOB = Ref("Job", "default", "x")


@dataclass
class Told:
    """What the executor reports."""

    lines: list[str] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)

    def job_started(self, job: Ref) -> None: ...

    def job_printed(self, job: Ref, line: str) -> None:
        self.lines.append(line)

    def job_ended(self, job: Ref, reason: str, why: str) -> None:
        self.ends.append((reason, why))


@dataclass
class Bench:
    """An API server and an executor at work."""

    client: Client
    told: Told
    folder: Path

    async def create(self, job: dict[str, Any]) -> str:
        return (await self.client.create(KINDS["Job"], job, strict=True))["metadata"]["uid"]

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                found = await self.client.get(JOB)
                if condition(found):
                    return found
                await asyncio.sleep(0.02)

    async def ended(self) -> dict[str, Any]:
        def is_over(job: dict[str, Any]) -> bool:
            return {"Complete", "Failed"} & set(conditions(job)) != set()

        job = await self.until(is_over)
        await holds(lambda: not list(self.folder.iterdir()))
        return job


async def holds(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  processes and folders have no event
            await asyncio.sleep(0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    told, store, folder = Told(), Store(), tmp_path / "jobs"
    folder.mkdir()
    async with serving() as server, Client.connect_to(server.url, server.token) as client:
        jobs = Informer(
            client=client,
            kind=KINDS["Job"],
            writer=StoreWriter(store, "Job"),
            failed=lambda _kind, _error: None,
            absent=lambda: False,
        )
        machine = {"PATH": os.environ["PATH"], "SECRET_OF_THE_SHELL": "hush"}
        executor = Executor(api=client, store=store, folder=folder, keep=False, reporter=told, machine=machine)
        async with running(jobs=jobs.run(), executor=executor.run()):
            yield Bench(client=client, told=told, folder=folder)


def job(*command: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "worker",
        "image": "nothing",
        "workingDir": "/action_workdir",
        "env": [{"name": "WORKDIR", "value": "/action_workdir"}, {"name": "MONEY", "value": "$$5"}],
        "volumeMounts": [{"name": "w", "mountPath": "/action_workdir"}],
    }
    if command:
        container["command"] = list(command)
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "w", "emptyDir": {}}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": JOB.name, "namespace": JOB.namespace},
        "spec": {"backoffLimit": 0, "parallelism": 1, **spec, "template": {"spec": pod}},
    }


def conditions(found: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["reason"] for one in found.get("status", {}).get("conditions", ())}


async def test_success(bench: Bench):
    """A command that ends well makes the Job Complete, its lines are passed on, and its folder goes."""
    await bench.create(job("sh", "-c", 'echo "$WORKDIR $PWD $MONEY [$SECRET_OF_THE_SHELL]"; printf last'))
    found = await bench.ended()
    assert conditions(found) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert found["status"]["completionTime"] >= found["status"]["startTime"]
    assert found["status"]["succeeded"] == 1
    workdir, cwd, money, secret = bench.told.lines[0].split(" ")
    assert workdir == cwd
    assert (money, secret) == ("$5", "[]")
    assert bench.told.lines[1] == "last"


async def test_failure(bench: Bench):
    """A command that ends badly makes the Job Failed, and its exit code is told."""
    await bench.create(job("sh", "-c", "exit 7"))
    found = await bench.ended()
    assert conditions(found) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert bench.told.ends == [("BackoffLimitExceeded", "the command ended with exit code 7")]


async def test_no_command(bench: Bench):
    """A Job without a command fails and says what to write where."""
    await bench.create(job())
    await bench.ended()
    assert "spec.actionJob.command" in bench.told.ends[0][1]


async def test_command_not_found(bench: Bench):
    """A command that the machine does not have is named."""
    await bench.create(job("no-such-command"))
    await bench.ended()
    assert any("command not found: no-such-command" in line for line in bench.told.lines)


async def test_deadline(bench: Bench):
    """A Job over its time limit fails with DeadlineExceeded, and its processes end."""
    uid = await bench.create(job("sleep", "60", activeDeadlineSeconds=1))
    assert conditions(await bench.ended())["Failed"] == "DeadlineExceeded"
    assert not marked(uid)


async def test_nothing_is_left_behind(bench: Bench):
    """What a command leaves in the background, also outside its process group, ends with the Job."""
    uid = await bench.create(job("sh", "-c", "sleep 60 & setsid sleep 60 & echo started"))
    await bench.ended()
    assert not marked(uid)


async def test_stubborn_process(bench: Bench):
    """A process that ignores TERM is killed."""
    uid = await bench.create(job("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"))
    await holds(lambda: "ready" in bench.told.lines)
    await bench.client.delete(JOB)
    await holds(lambda: not marked(uid))
    await holds(lambda: not list(bench.folder.iterdir()))


async def test_deletion_stops(bench: Bench):
    """Deleting a Job stops its processes and removes its folder."""
    uid = await bench.create(job("sleep", "60"))
    await holds(lambda: marked(uid))
    await bench.client.delete(JOB)
    await holds(lambda: not marked(uid))
    await holds(lambda: not list(bench.folder.iterdir()))
    assert bench.told.ends == []


async def test_suspended(bench: Bench):
    """A suspended Job does not run; it does once it is admitted."""
    await bench.create(job("true", suspend=True))
    other = job("true")
    other["metadata"]["name"] = "other"
    await bench.create(other)
    await holds(lambda: bench.told.ends)
    assert "startTime" not in (await bench.client.get(JOB)).get("status", {})
    await bench.client.patch(JOB, {"spec": {"suspend": False}})
    assert "Complete" in conditions(await bench.ended())


async def test_time_to_live(bench: Bench):
    """A finished Job whose time to live is over is deleted."""
    await bench.create(job("true"))
    await bench.ended()
    await bench.client.patch(JOB, {"spec": {"ttlSecondsAfterFinished": 0}})
    with pytest.raises(ApiNotFound):
        await bench.until(lambda _: False)


def cloning(url: str, commit: str, secret: str | None = None) -> dict[str, Any]:
    made = job("cat", "run.sh")
    pod = made["spec"]["template"]["spec"]
    description = SourceDescription(url=url, auth_type="token" if secret else None)
    init: dict[str, Any] = {
        "name": "cloner",
        "image": "nothing",
        "args": ["--kind", "GitRepo", "--source", "app", "--commit", commit, "--destination", "/action_workdir"],
        "env": [{"name": SOURCE_VARIABLE, "value": description.to_json()}],
        "volumeMounts": [{"name": "w", "mountPath": "/action_workdir"}],
    }
    if secret:
        init["volumeMounts"].append({"name": "s", "mountPath": description.secret_dir})
        keys = {"secret": {"name": secret, "items": [{"key": "key", "path": "token"}]}}
        pod["volumes"].append({"name": "s", "projected": {"sources": [keys]}})
    pod["initContainers"] = [init]
    return made


async def test_cloner(bench: Bench, repository: Repository):
    """The init container's cloner puts the commit where the command works."""
    commit = repository.push(run_sh="the script\n")
    await bench.create(cloning(repository.url, commit))
    assert "Complete" in conditions(await bench.ended())
    assert bench.told.lines[-1] == "the script"


async def test_changed_files_are_in_a_folder_next_to_the_working_directory(bench: Bench, repository: Repository):
    """The command finds the list where the variable says, and not in the repository."""
    old = repository.push(run_sh="one\n")
    new = repository.push(run_sh="two\n")
    made = cloning(repository.url, new)
    pod, workdir = made["spec"]["template"]["spec"], "/action_workdir"
    [init], [worker] = pod["initContainers"], pod["containers"]
    pod["volumes"].append(changes.volume())
    init["env"] += changes.cloner_variables(workdir, old, override=False)
    init["volumeMounts"].append(changes.mount(workdir, read_only=False))
    worker["env"].append({"name": "CHANGED_FILES", "value": changes.file_of(workdir)})
    worker["volumeMounts"].append(changes.mount(workdir, read_only=True))
    worker["command"] = ["sh", "-c", 'ls -A; cat "$CHANGED_FILES"']
    await bench.create(made)
    assert "Complete" in conditions(await bench.ended())
    assert bench.told.lines[-2:] == ["run.sh", "M\trun.sh"]


async def test_cloner_with_a_secret(bench: Bench, repository: Repository):
    """Keys of a Secret are files for the cloner, and go with the Job."""
    commit = repository.push(run_sh="the script\n")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git", "namespace": "default"}}
    await bench.client.create(KINDS["Secret"], {**secret, "stringData": {"key": "Bearer hush"}})
    await bench.create(cloning(repository.url, commit, "git"))
    assert "Complete" in conditions(await bench.ended())


async def test_secret_is_missing(bench: Bench, repository: Repository):
    """A Secret that is not there fails the Job and is named."""
    await bench.create(cloning(repository.url, "0" * 40, "git"))
    await bench.ended()
    assert "Secret default/git" in bench.told.ends[0][1]


async def test_settings_without_a_meaning_here_are_named(bench: Bench) -> None:
    """What only a cluster can do is said in the Job's output; the command runs all the same."""
    wanted = job("true")
    pod = wanted["spec"]["template"]["spec"]
    pod |= {"priorityClassName": "low", "affinity": {"nodeAffinity": {}}}
    pod["volumes"].append({"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}})
    pod["containers"][0] |= {"resources": {"limits": {"cpu": "1"}}}
    await bench.create(wanted)
    assert "Complete" in conditions(await bench.ended())
    [said] = [line for line in bench.told.lines if line.startswith("without a cluster")]
    for name in ("priorityClassName", "affinity", "cache", "resources"):
        assert name in said


async def test_variables_from_objects(bench: Bench) -> None:
    """The worker has variables from Secrets and ConfigMaps, as in a cluster."""
    for kind, data in (("Secret", {"k": "aHVzaA=="}), ("ConfigMap", {"LEVEL": "debug"})):
        obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "s", "namespace": "default"}, "data": data}
        await bench.client.create(KINDS[kind], obj)
    wanted = job("sh", "-c", "echo $KEY $C_LEVEL")
    container = wanted["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"prefix": "C_", "configMapRef": {"name": "s"}}]
    container["env"].append({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})
    await bench.create(wanted)
    assert "Complete" in conditions(await bench.ended())
    assert bench.told.lines == ["hush debug"]


async def test_another_pod(bench: Bench, tmp_path: Path) -> None:
    """A failed command runs again in a fresh folder, as often as `backoffLimit` says."""
    count = tmp_path / "count"
    script = f"ls; touch left; echo x >> {count}; test $(wc -l < {count}) -ge 2"
    await bench.create(job("sh", "-c", script, backoffLimit=1))
    ended = await bench.ended()
    assert "Complete" in conditions(ended)
    assert (ended["status"]["failed"], ended["status"]["succeeded"]) == (1, 1)
    assert bench.told.lines == ["the command ended with exit code 1; tried again in 1 s"]


async def test_a_bug_in_one_job(bench: Bench) -> None:
    """What nobody has expected of a Job ends that Job alone, with one line."""
    wanted = job("true")
    wanted["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": 1}]
    await bench.create(wanted)
    await bench.ended()
    assert bench.told.ends[0][1].startswith("internal error: TypeError: ")
    assert "\n" not in bench.told.ends[0][1]
    await bench.client.delete(JOB)
    await bench.create(job("true"))
    assert "Complete" in conditions(await bench.ended())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_under_uvloop(tmp_path: Path) -> None:
    """The descriptors of a command are closed when it has ended."""
    left: list[int] = []

    async def runs() -> None:
        argv = ("sh", "-c", "echo x; echo y")
        command = LocalCommand(container="c", argv=argv, env={"PATH": os.environ["PATH"]}, cwd=tmp_path)
        before = descriptors()
        for _ in range(20):
            lines: list[str] = []
            assert await execute(command, mark="none", output=lines.append) == 0
            assert lines == ["x", "y"]
            left.append(descriptors() - before)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(runs())
    assert left[-1] <= left[0] + 1


async def test_a_job_deleted_in_the_foreground_is_there_until_its_processes_have_ended(bench: Bench):
    """What waits for it starts after it, never beside it."""
    uid = await bench.create(job("sh", "-c", "trap 'sleep 0.5; exit' TERM; echo up; while :; do sleep 0.1; done"))
    await holds(lambda: "up" in bench.told.lines)
    await bench.client.delete(JOB, propagation="Foreground")
    await holds(lambda: not marked(uid) or bench.told.lines)
    async with asyncio.timeout(20):
        while True:
            try:
                await bench.client.get(JOB)
            except ApiNotFound:
                break
            await asyncio.sleep(0.01)
    assert not marked(uid)


async def test_a_job_that_is_suspended_and_resumed_starts_again(bench: Bench):
    """Its processes are stopped, its condition says so; resumed it has another start time, and may end well."""
    await bench.create(job("sh", "-c", f"echo up; test -e {bench.folder}/resumed || sleep 60"))
    await holds(lambda: "up" in bench.told.lines)
    started = (await bench.until(lambda found: found["status"].get("ready")))["status"]["startTime"]
    await bench.client.patch(JOB, [{"op": "replace", "path": "/spec/suspend", "value": True}])
    suspended = await bench.until(lambda found: "Suspended" in conditions(found))
    assert suspended["status"].get("active") is None
    bench.folder.joinpath("resumed").touch()
    await bench.client.patch(JOB, [{"op": "replace", "path": "/spec/suspend", "value": False}])
    ended = await bench.until(lambda found: "Complete" in conditions(found))
    assert bench.told.lines.count("up") == 2
    assert "Suspended" not in conditions(ended)
    assert ended["status"]["startTime"] >= started

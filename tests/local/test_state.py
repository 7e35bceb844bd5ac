"""`local --state FOLDER`: what is kept between starts, and which folders are refused."""

import asyncio
import json
import random
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from git_events_runner.errors import ConfigError, single
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.state import FORM, opened
from git_events_runner.resources.job import JobView, RunKey, job_name
from git_events_runner.resources.kinds import KINDS
from git_events_runner.rules.annotated import CHECK_ANNOTATION
from tests.flow.virtual import until

from .conftest import write
from .test_command import COMMAND

GROUP = "git-events-runner.rs"
VERSION = f"{GROUP}/v1alpha1"
STATUS = {"checkedSources": {"app": {"commitHash": "a" * 40, "runs": 2}}}


def trigger(**spec):
    body = {
        "sources": {"names": ["app"]},
        "schedule": {"interval": "1h"},
        "action": {"kind": "Action", "name": "build"},
    }
    metadata = {"name": "nightly", "namespace": "default"}
    return {"apiVersion": VERSION, "kind": "ScheduleTrigger", "metadata": metadata, "spec": {**body, **spec}}


ACTION = {
    "apiVersion": VERSION,
    "kind": "Action",
    "metadata": {"name": "build", "namespace": "default"},
    "spec": {"actionJob": {}},
}


def stored(server, kind, name="nightly"):
    return server.storage.get(KINDS[kind], "default", name)


async def started(folder, *objects, change=lambda server: None):
    """One start on some manifests: what runs again, and the stored objects by kind and name."""
    with opened(folder) as state:
        async with serving() as server:
            for obj in objects:
                server.create(json.loads(json.dumps(obj)))
            again = state.restore(server, now="now")
            change(server)
            state.save()
            every = {
                (kind, one["metadata"]["name"]): one for kind in KINDS for one in server.storage.items(KINDS[kind])
            }
            return [one.name for one in again], every


def with_status(server):
    server.restore(stored(server, "ScheduleTrigger") | {"status": STATUS})


def with_job(number, **status):
    """Adds the Job of a run."""

    def change(server):
        with_status(server)
        owner, action = stored(server, "ScheduleTrigger"), stored(server, "Action", "build")
        run = RunKey(trigger_uid=owner["metadata"]["uid"], source="app", number=number)
        metadata = {
            "name": job_name("nightly", run),
            "namespace": "default",
            "labels": {
                f"{GROUP}/trigger-kind": "ScheduleTrigger",
                f"{GROUP}/trigger-name": "nightly",
                f"{GROUP}/controller-identity": "c",
            },
            "annotations": {f"{GROUP}/run": str(run), f"{GROUP}/admission": "admitted", f"{GROUP}/admitted-at": "x"},
            "ownerReferences": [
                {"apiVersion": VERSION, "kind": "Action", "name": "build", "uid": action["metadata"]["uid"]}
            ],
        }
        pod = {"restartPolicy": "Never", "containers": [{"name": "w", "image": "x"}]}
        made = server.create(
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
        )
        server.restore(made | {"status": status})

    return change


async def test_identity_and_status_are_kept(tmp_path):
    """A trigger has its uid, status and generation (if edited, the next), and a check is requested."""
    _, first = await started(tmp_path / "s", trigger(), ACTION, change=with_status)
    _, second = await started(tmp_path / "s", trigger(), ACTION)
    _, third = await started(tmp_path / "s", trigger(schedule={"interval": "2h"}), ACTION)
    found = [each["ScheduleTrigger", "nightly"] for each in (first, second, third)]
    assert len({one["metadata"]["uid"] for one in found}) == 1
    assert [one["metadata"]["generation"] for one in found] == [1, 1, 2]
    assert all(one["status"] == STATUS for one in found)
    assert [one["metadata"].get("annotations") for one in found] == [None, *[{CHECK_ANNOTATION: "now"}] * 2]
    assert found[2]["spec"]["schedule"] == {"interval": "2h"}


async def test_what_is_not_in_the_manifests_is_dropped(tmp_path):
    """A trigger that is removed and comes back later is a new one; its Jobs are not restored."""
    _, first = await started(tmp_path / "s", trigger(), ACTION, change=with_job(2))
    again, second = await started(tmp_path / "s", ACTION)
    assert (again, [key for key in second if key[0] == "Job"]) == ([], [])
    _, third = await started(tmp_path / "s", trigger(), ACTION)
    new = third["ScheduleTrigger", "nightly"]
    assert "status" not in new
    assert new["metadata"]["uid"] != first["ScheduleTrigger", "nightly"]["metadata"]["uid"]


async def test_a_run_that_did_not_end_waits_again(tmp_path):
    """Its Job is as one that was never admitted; one that has ended is as it was."""
    ended = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await started(tmp_path / "s", trigger(), ACTION, change=with_job(2, startTime="2026-01-01T00:00:00Z", active=1))
    [name], found = await started(tmp_path / "s", trigger(), ACTION)
    view = JobView.of(found["Job", name])
    assert (view.waits, view.phase, view.started_at, view.suspensions.are_ours) == (True, "Queued", None, True)
    await started(tmp_path / "t", trigger(), ACTION, change=with_job(2, conditions=[ended]))
    again, found = await started(tmp_path / "t", trigger(), ACTION)
    [job] = [JobView.of(one) for (kind, _), one in found.items() if kind == "Job"]
    assert (again, job.phase) == ([], "Succeeded")


async def test_no_secret_is_kept(tmp_path):
    """Secrets are not in the file, which this user alone can read."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}
    await started(tmp_path / "s", trigger(), ACTION, secret | {"stringData": {"token": "hunter2"}})
    file = tmp_path / "s" / "state.json"
    assert "hunter2" not in file.read_text()
    assert "aHVudGVyMg" not in file.read_text()
    assert (file.stat().st_mode & 0o777, (tmp_path / "s").stat().st_mode & 0o777) == (0o600, 0o700)


async def test_changes_are_written_meanwhile(tmp_path):
    """The file is replaced after changes, not only at the end."""
    with opened(tmp_path / "s") as state:
        async with serving() as server, asyncio.timeout(30), asyncio.TaskGroup() as group:
            state.restore(server, now="now")
            writing = group.create_task(state.run())
            server.create(trigger())
            file = tmp_path / "s" / "state.json"
            await until(lambda: file.exists() and "nightly" in file.read_text())
            writing.cancel()
    assert [one.name for one in (tmp_path / "s").iterdir() if one.name.endswith(".new")] == []


def test_writes_that_overlap(tmp_path):
    """Writes in several threads leave a complete file, with the latest content."""
    with opened(tmp_path / "s") as state, ThreadPoolExecutor(8) as threads:
        numbers = random.Random(7).sample(range(1, 200), 199)
        for done in [threads.submit(state._write, number, b"%d" % number) for number in numbers]:
            done.result()
        assert (tmp_path / "s" / "state.json").read_text() == "199"


def file_in_the_way(folder):
    folder.write_text("")


def other_files(folder):
    folder.mkdir()
    (folder / "main.py").write_text("")


def has(text):
    def write_state(folder):
        folder.mkdir()
        (folder / "state.json").write_text(text)

    return write_state


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (file_in_the_way, "is no folder"),
        (other_files, "has other files, as main.py: name a new or an empty folder"),
        (has("{"), "cannot be read: "),
        (has("[]"), "has the form of another program: name a new or an empty folder"),
        (has('{"form": 4}'), "has the form of another program: name a new or an empty folder"),
        (
            has('{"form": "local.git-events-runner.rs/v0"}'),
            "has the form local.git-events-runner.rs/v0, and this version",
        ),
        (has(json.dumps({"form": FORM, "objects": [{"kind": "Secret", "metadata": {}}]})), "is damaged"),
        (has(json.dumps({"form": FORM, "objects": 7})), "is damaged"),
    ],
)
def test_a_folder_that_is_refused(tmp_path, prepare, told):
    """The message names the option, the folder and what to do; nothing is changed."""
    folder = tmp_path / "s"
    prepare(folder)
    with pytest.raises(ConfigError) as refused, opened(folder):
        pass
    assert str(refused.value).startswith(f"--state: {folder}")
    assert told in str(refused.value)
    assert re.search("remove this file|name a|is no folder", str(refused.value))


def test_a_lock_that_is_not_ours_keeps_its_content(tmp_path):
    """Its file may be one of another program."""
    (tmp_path / "lock").write_text("precious")
    with opened(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == "precious"


@pytest.mark.parametrize("damage", [{"ownerReferences": 5}, {"ownerReferences": [5]}, {"annotations": "x"}])
async def test_a_damaged_job(tmp_path, damage):
    """Whatever its parts are, the file is named, and what to do."""
    await started(tmp_path / "s", trigger(), ACTION, change=with_job(2))
    file = tmp_path / "s" / "state.json"
    found = json.loads(file.read_text())
    [job] = [one for one in found["objects"] if one["kind"] == "Job"]
    job["metadata"] |= damage
    file.write_text(json.dumps(found))
    with pytest.raises(BaseExceptionGroup) as group:
        await started(tmp_path / "s", trigger(), ACTION)
    assert re.search("state.json (is damaged|has a Job).*; remove this file", str(single(group.value)))


def test_a_folder_in_use(tmp_path):
    """Two programs do not write the same state."""
    with (
        opened(tmp_path / "s"),
        pytest.raises(ConfigError, match="is in use by another `local`"),
        opened(tmp_path / "s"),
    ):
        pass


async def test_a_state_that_does_not_fit(tmp_path):
    """An object that this version refuses is named."""
    await started(tmp_path / "s", trigger(), ACTION, change=with_status)
    file = tmp_path / "s" / "state.json"
    file.write_text(file.read_text().replace(json.dumps("a" * 40), "[7]"))
    with pytest.raises(BaseExceptionGroup) as group:
        await started(tmp_path / "s", trigger(), ACTION)
    assert "has a ScheduleTrigger nightly that this version refuses" in str(single(group.value))


def once(folder, *more):
    words = [*COMMAND, "--once", str(folder), "--state", str(folder / ".state"), *more]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)


def test_only_changes_run_at_the_next_start(repository, tmp_path):
    """A second --once with the same state runs nothing; after a push it runs the new commit, as the second run."""
    folder = write(tmp_path / "m", url=repository.url)
    lines = []
    for _ in range(2):
        done = once(folder)
        assert (done.returncode, done.stderr) == (0, "")
        lines.append(done.stdout.splitlines()[-1][9:])
    repository.push(run_sh="echo two\n")
    lines.append(once(folder).stdout.splitlines()[-1][9:])
    ran, same = "1 source checked, 1 run, none failed", "1 source checked, 0 runs, none failed"
    assert lines == [ran, same, ran]


def test_a_cancelled_run_runs_again(repository, tmp_path):
    """Ctrl-C names the run that it cancels, and the next start with the state repeats it."""
    folder, flag = tmp_path / "m", tmp_path / "go"
    write(folder, url=repository.url, command=f'[sh, -c, "echo at work; until test -e {flag}; do sleep 0.1; done"]')
    words = [*COMMAND, "--once", str(folder), "--state", str(folder / ".state")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("[nightly-") and "at work" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130
    [name] = re.findall(r"stopping, cancelled job (nightly-\w+) \(run again at the next start\)", rest)
    flag.touch()
    done = once(folder)
    assert f"job {name}: did not end at the last start, runs again" in done.stdout
    assert f"job {name}: succeeded" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 source checked, 1 run, none failed")
    assert done.returncode == 0

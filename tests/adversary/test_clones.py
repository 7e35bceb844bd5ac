"""Item 21: a commit of a tenant's that means gigabytes; what the Job's init container may write, and where to."""

import json
import os
import subprocess
import sys

from git_events_runner.resources.changes import CHANGES_VARIABLE
from git_events_runner.resources.description import SOURCE_VARIABLE
from tests.cloner.cloning import blob_of, tree_of
from tests.cluster.plane import wait_until
from tests.edges.git.gitserver import commit_tree
from tests.system.conftest import sources

MIB = 2**20
CONFIG = f"""
action:
  workdir: {{sizeLimit: 64Mi}}
  containers: {{cloner: {{maxBytes: {16 * MIB}, maxFiles: 1000}}}}
"""


def bombs(repository):
    """A commit with a thousand files of a MiB each in a pack of some KiB, and one with a billion folders."""
    large = blob_of(repository.path, b"\0" * MIB)
    files = tree_of(repository.path, *((b"100644", b"f%04d" % n, large) for n in range(1000)))
    folders = tree_of(repository.path, (b"100644", b"x", blob_of(repository.path)))
    for _ in range(9):
        folders = tree_of(repository.path, *((b"40000", b"d%d" % n, folders) for n in range(10)))
    return commit_tree(repository.path, files, branch="files"), commit_tree(repository.path, folders, branch="folders")


def run_init(job, target):
    """Run the init container of a Job as a process, with its own arguments and variables, into another folder."""
    [container] = job["spec"]["template"]["spec"]["initContainers"]
    arguments = list(container["args"])
    arguments[arguments.index("--destination") + 1] = str(target)
    environment = {each["name"]: each["value"].replace("$$", "$") for each in container["env"]}
    (lists := target.with_name(f"{target.name}-lists")).mkdir(exist_ok=True)
    environment[CHANGES_VARIABLE] = str(lists)
    command = [sys.executable, "-m", "git_events_runner.cloner", *arguments]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=False
    )


def test_item_21_a_small_pack_fills_no_disk(estate, repository, tmp_path):
    """Of a GiB in a few KiB nothing stays, volume and container are limited, and the neighbour notices nothing."""
    bombs(repository)
    estate.configure(CONFIG)
    estate.start()
    api, evil = estate.tenant, estate.evil
    api.ours("GitRepo", evil, "bomb", {"repoUri": repository.url})
    api.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    spec = sources()
    with estate.watched(seconds=6):
        for branch in ("files", "folders"):
            spec["sources"] = spec["sources"] | {
                "names": ["bomb"],
                "watchOn": {"onChangeOnly": True, "reference": {"branch": branch}},
            }
            api.ours("ScheduleTrigger", evil, branch, spec | {"schedule": {"interval": "1h"}})
        made = {
            branch: wait_until(f"the Job of {branch}", lambda branch=branch: api.jobs(evil, branch), timeout_s=60)
            for branch in ("files", "folders")
        }
        for branch, [job] in made.items():
            pod = job["spec"]["template"]["spec"]
            assert pod["volumes"][0]["emptyDir"] == {"sizeLimit": "64Mi"}
            [init] = pod["initContainers"]
            assert init["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
            [described] = [json.loads(each["value"]) for each in init["env"] if each["name"] == SOURCE_VARIABLE]
            assert described["limits"] == {"bytes": 16 * MIB, "files": 1000}
            target = tmp_path / branch
            done = run_init(job, target)
            assert done.returncode == 7, done.stderr
            assert "of the runtime config" in done.stderr
            assert list(target.iterdir()) == []

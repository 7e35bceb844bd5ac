"""Volumes of a pod as folders: which keys of a Secret become files, and which may be missing."""

import asyncio
import base64

import pytest

from git_events_runner.errors import ApiNotFound, ConfigError
from git_events_runner.local.executor.volumes import Volumes, remove
from git_events_runner.rules.jobs.run import SecretKeys
from tests.rules.test_manifest import APP, Clone, made, pod


class Reader:
    """One Secret, or none."""

    def __init__(self, data):
        self.data = data

    async def get(self, ref):
        if self.data is None:
            raise ApiNotFound("no such Secret")
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in self.data.items()}}


async def mounted(tmp_path, data):
    keys = SecretKeys(
        namespace="team", name="deploy", files={"id": "ssh-privatekey"}, optional=("passphrase", "known_hosts")
    )
    job = made(clone=Clone(pointer=APP, description="{}", secrets=(keys,)))
    volumes = Volumes(reader=Reader(data), namespace="team", work=tmp_path / "work", secrets=tmp_path / "secrets")
    folders = await volumes.make(pod(job))
    [folder] = [folders[each["name"]] for each in pod(job)["volumes"] if "source" in each["name"]]
    return {each.name: each.read_text() for each in folder.iterdir()}


async def test_optional_keys_of_a_secret(tmp_path):
    """Passphrase and known hosts are there if the Secret has them, as a kubelet mounts them; the key has to be."""
    assert await mounted(tmp_path / "a", {"id": "KEY", "other": "x"}) == {"ssh-privatekey": "KEY"}
    found = await mounted(tmp_path / "b", {"id": "KEY", "known_hosts": "h"})
    assert found == {"ssh-privatekey": "KEY", "known_hosts": "h"}
    with pytest.raises(ConfigError, match="no key id"):
        await mounted(tmp_path / "c", {"passphrase": "p"})
    with pytest.raises(ConfigError, match="there is no Secret"):
        await mounted(tmp_path / "d", None)


async def test_a_folder_may_be_removed_twice_at_the_same_time(tmp_path):
    """A Job's end and the program's end remove the same folder."""
    for number in range(20):
        folder = tmp_path / str(number)
        for name in range(100):
            (folder / f"{name}" / "x").mkdir(parents=True)
        await asyncio.gather(*(remove(folder) for _ in range(4)))
        assert not folder.exists()

"""Variables of containers, from everywhere that a cluster takes them from."""

import base64
from typing import Any

import pytest

from git_events_runner.errors import ApiNotFound, ConfigError
from git_events_runner.local.executor.variables import Variables
from git_events_runner.resources.ref import Ref


class Objects:
    """One Secret and one ConfigMap."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        found = {
            Ref("Secret", "team", "s"): {"data": {"a": base64.b64encode(b"secret").decode(), "b": "/w=="}},
            Ref("ConfigMap", "team", "c"): {"data": {"a": "plain", "x": "$(a)"}, "binaryData": {"z": "AAA="}},
        }
        if ref not in found:
            raise ApiNotFound(str(ref))
        return found[ref]


JOB = {
    "metadata": {"name": "x", "namespace": "team", "uid": "u"},
    "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"serviceAccountName": "builder"}}},
}


async def resolved(*env: Any, env_from: Any = (), **container: Any) -> dict[str, str]:
    return await Variables(reader=Objects(), job=JOB).of({"env": list(env), "envFrom": list(env_from), **container})


def source(**of: Any) -> dict[str, Any]:
    return {"name": "V", "valueFrom": of}


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ({"secretKeyRef": {"name": "s", "key": "a"}}, "secret"),
        ({"configMapKeyRef": {"name": "c", "key": "a"}}, "plain"),
        ({"secretKeyRef": {"name": "none", "key": "a", "optional": True}}, None),
        ({"configMapKeyRef": {"name": "c", "key": "none", "optional": True}}, None),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "x"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "web"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['none']"}}, ""),
        ({"fieldRef": {"fieldPath": "spec.serviceAccountName"}}, "builder"),
        ({"resourceFieldRef": {"resource": "limits.memory"}}, "1Gi"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "0"),
    ],
)
async def test_sources(of: dict[str, Any], value: str | None):
    """A variable may come from a Secret, a ConfigMap, a field or a resource; an optional one may be missing."""
    found = await resolved(source(**of), resources={"limits": {"memory": "1Gi"}})
    assert found == ({} if value is None else {"V": value})


async def test_order():
    """All keys come first, with their prefix; then single variables, which may refer to those before them."""
    both = [{"prefix": "P_", "secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]
    found = await resolved({"name": "a", "value": "mine"}, {"name": "B", "value": "$(a)-$(P_a)"}, env_from=both)
    assert found == {"P_a": "secret", "P_b": "\udcff", "a": "mine", "x": "$(a)", "B": "mine-secret"}


async def test_absent_and_empty_values():
    """A variable without a value is empty."""
    assert await resolved({"name": "A"}, {"name": "B", "value": None, "valueFrom": None}) == {"A": "", "B": ""}


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ({"secretKeyRef": {"name": "none", "key": "a"}}, "the variable V needs the Secret team/none; add it"),
        ({"secretKeyRef": {"name": "s", "key": "none"}}, "needs the key none of the Secret team/s; add it there"),
        ({"fieldRef": {"fieldPath": "status.phase"}}, "comes from the field status.phase, which is not known"),
        ({"fileKeyRef": {}}, "comes from fileKeyRef, which is not known without a cluster"),
    ],
)
async def test_missing(of: dict[str, Any], told: str):
    """What is missing is told with its name."""
    with pytest.raises(ConfigError, match=told):
        await resolved(source(**of))


async def test_missing_altogether():
    """A missing object of `envFrom` is told, unless it is optional."""
    with pytest.raises(ConfigError, match="envFrom needs the ConfigMap team/none"):
        await resolved(env_from=[{"configMapRef": {"name": "none"}}])
    assert await resolved(env_from=[{"configMapRef": {"name": "none", "optional": True}}]) == {}


async def test_what_no_process_can_have():
    """A value with a zero byte is refused with the variable's name."""
    with pytest.raises(ConfigError, match="the variable A cannot be set"):
        await resolved({"name": "A", "value": "\0"})

"""The variables of a container, from values, Secrets, ConfigMaps and fields of the pod, as the kubelet makes them.

https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from git_events_runner.edges.ports import KubeReader
from git_events_runner.errors import ApiNotFound, ConfigError
from git_events_runner.resources.ref import Ref

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
_LOOPBACK = "127.0.0.1"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` of known variables and `$$`, as the kubelet does.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/

    >>> expand("$(A) $$(A) $(B) $A", {"A": "1"})
    '1 $(A) $(B) $A'
    """

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """Resolves the variables of the containers of one Job."""

    reader: KubeReader
    job: Mapping[str, Any]

    async def of(self, container: Mapping[str, Any]) -> dict[str, str]:
        """Name → value; `env` wins over `envFrom`, and what comes later wins.

        Raises:
            ConfigError: A Secret, ConfigMap or key that is named is missing, or a field is none that can be read here.
            ApiError: They cannot be read.
        """
        found: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            found |= await self._all(source)
        for variable in container.get("env") or ():
            name, origin = variable["name"], variable.get("valueFrom")
            if not origin:
                found[name] = expand(variable.get("value") or "", found)
            else:
                value = await self._one(name, origin, container)
                found |= {} if value is None else {name: value}
        wrong = next((name for name, value in found.items() if "\0" in name + value or "=" in name), None)
        if wrong is not None:
            raise ConfigError(f"the variable {wrong} cannot be set: its name holds a =, or it holds a zero byte")
        return found

    async def _all(self, source: Mapping[str, Any]) -> dict[str, str]:
        """Every key of a Secret or ConfigMap, with the prefix."""
        prefix = source.get("prefix") or ""
        for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if source.get(field):
                data = await self._data(kind, source[field], "envFrom")
                return {prefix + key: value for key, value in (data or {}).items()}
        return {}

    async def _one(self, name: str, origin: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
        """The value of a variable; None where it is optional and missing."""
        for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if origin.get(field):
                return await self._key(kind, origin[field], f"the variable {name}")
        if origin.get("fieldRef"):
            return self._field(origin["fieldRef"].get("fieldPath") or "", name)
        if origin.get("resourceFieldRef"):
            return _resource(origin["resourceFieldRef"].get("resource") or "", container)
        raise ConfigError(f"the variable {name} comes from {', '.join(origin)}, which is not known without a cluster")

    async def _key(self, kind: str, source: Mapping[str, Any], what: str) -> str | None:
        data = await self._data(kind, source, what)
        if data is not None and source.get("key") in data:
            return data[source["key"]]
        if source.get("optional"):
            return None
        place = f"{self._namespace}/{source.get('name')}"
        raise ConfigError(f"{what} needs the key {source.get('key')} of the {kind} {place}; add it there")

    async def _data(self, kind: str, source: Mapping[str, Any], what: str) -> dict[str, str] | None:
        name = source.get("name") or ""
        try:
            found = await self.reader.get(Ref(kind, self._namespace, name))
        except ApiNotFound as error:
            if source.get("optional"):
                return None
            raise ConfigError(f"{what} needs the {kind} {self._namespace}/{name}; add it to the manifests") from error
        data = found.get("data") or {}
        if kind == "Secret":
            return {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}
        return dict(data)

    def _field(self, path: str, name: str) -> str:
        metadata = self.job["metadata"]
        pod = self.job["spec"]["template"]
        values = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "default",
            "spec.nodeName": "local",
            **dict.fromkeys(("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"), _LOOPBACK),
        }
        keyed = _KEYED.fullmatch(path)
        if keyed is not None:
            return str(((pod.get("metadata") or {}).get(keyed[1]) or {}).get(keyed[2], ""))
        if path not in values:
            raise ConfigError(f"the variable {name} comes from the field {path}, which is not known without a cluster")
        return str(values[path])

    @property
    def _namespace(self) -> str:
        return str(self.job["metadata"]["namespace"])


def _resource(resource: str, container: Mapping[str, Any]) -> str:
    """What an Action writes for a resource, as it is written: no cgroup is there to be read. Unset: 0."""
    section, _, name = resource.partition(".")
    return str(((container.get("resources") or {}).get(section) or {}).get(name, "0"))

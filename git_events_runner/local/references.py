"""Names in manifests that no object has: without a cluster no other object can have it."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from git_events_runner.resources.kinds import NOTIFIERS, SOURCES, TRIGGERS
from git_events_runner.resources.notifiers import DEFAULT_KEYS
from git_events_runner.resources.ref import Ref, named

from .notifier_secrets import problem_of

UNREAD: Mapping[str, Any] = {}  # an object that is there, with nothing in it to read


class Existing(dict[Ref, Mapping[str, Any]]):
    """Objects that names may mean; which were searched for in vain is in `missed`.

    Of kinds that are `assumed`, any object exists, with contents that cannot be read.
    """

    def __init__(self, objects: Mapping[Ref, Mapping[str, Any]], *, assumed: Collection[str] = ()) -> None:
        super().__init__(objects)
        self.missed: set[Ref] = set()
        self.assumed = frozenset(assumed)

    def find(self, ref: Ref) -> Mapping[str, Any] | None:
        """The object, if it exists."""
        found = super().get(ref)
        if found is None and ref.kind in self.assumed:
            return UNREAD
        if found is None:
            self.missed.add(ref)
        return found

    def has_name(self, kind: str, name: str) -> bool:
        """Whether any namespace has an object of that name."""
        return kind in self.assumed or any(ref.kind == kind and ref.name == name for ref in self)


class Named(Protocol):
    """A manifest."""

    @property
    def ref(self) -> Ref:
        """Which object it is."""

    @property
    def obj(self) -> dict[str, Any]:
        """The object."""

    @property
    def document(self) -> Any:
        """Where it comes from."""


def dangling(
    manifests: Sequence[Named], wrong: Collection[Ref] = (), known: Existing | None = None
) -> Iterator[tuple[Named, str, str]]:
    """Each name that is missing: the manifest that names it, the field, and what to do.

    Objects that are `wrong` exist, but nothing is read in them. `known` are objects that exist in a cluster.
    """
    known = Existing({}) if known is None else known
    known.update({one.ref: UNREAD if one.ref in wrong else one.obj for one in manifests})
    for manifest in manifests:
        if manifest.ref in wrong:
            continue
        spec = manifest.obj.get("spec") or {}
        found: Iterator[tuple[str, str]] = iter(())
        if manifest.ref.kind in TRIGGERS:
            found = _of_trigger(manifest.ref, spec, known)
        elif manifest.ref.kind in SOURCES:
            found = _of_source(manifest.ref, spec, known)
        elif manifest.ref.kind in NOTIFIERS:
            found = _of_notifier(manifest.ref, spec, known)
        elif manifest.ref.kind in {"Action", "ClusterAction"}:
            found = _of_action(manifest.ref, spec, known)
        for field, problem in found:
            yield manifest, field, problem


def _of_trigger(trigger: Ref, spec: Mapping[str, Any], known: Existing) -> Iterator[tuple[str, str]]:
    sources = spec["sources"]
    for index, name in enumerate(sources["names"]):
        kind = sources.get("kind", "GitRepo")
        yield from _missing(f"spec.sources.names[{index}]", named(kind, trigger.namespace, name), known)
    action = spec["action"]
    yield from _missing("spec.action.name", named(action["kind"], trigger.namespace, action["name"]), known)
    on_delete = (sources.get("watchOn") or {}).get("onDelete")
    if on_delete:
        target = named(on_delete["kind"], trigger.namespace, on_delete["name"])
        yield from _missing("spec.sources.watchOn.onDelete.name", target, known)
    auth = (spec.get("webhook") or {}).get("authConfig")
    if auth:
        secret = Ref("Secret", trigger.namespace, auth["secretRef"]["name"])
        yield from _secret("spec.webhook.authConfig", secret, [auth["key"]], known)


def _of_source(source: Ref, spec: Mapping[str, Any], known: Existing) -> Iterator[tuple[str, str]]:
    auth, ca, proxy = spec.get("authConfig"), (spec.get("tlsConfig") or {}).get("caCert"), spec.get("proxy") or {}
    if auth:
        keys = auth.get("keys") or {}
        wanted = {
            "basic": [keys.get("username") or "username", keys.get("password") or "password"],
            "token": [keys.get("token") or "token"],
            "ssh": [keys.get("privateKey") or "ssh-privatekey"],
        }[auth["type"]]
        yield from _secret_of("spec.authConfig", source, auth, wanted, known)
    if ca:
        yield from _secret_of("spec.tlsConfig.caCert", source, ca, [ca.get("key") or "ca.crt"], known)
    if proxy.get("secretRef"):
        yield from _secret_of("spec.proxy", source, proxy, ["username", "password"], known)


def _of_notifier(notifier: Ref, spec: Mapping[str, Any], known: Existing) -> Iterator[tuple[str, str]]:
    ca = (spec.get("tlsConfig") or {}).get("caCert")
    if spec.get("secretRef"):
        key = spec["secretRef"].get("key") or DEFAULT_KEYS[spec["type"]]
        yield from _secret_of("spec", notifier, spec, [key], known)
        yield from _value_of_notifier(notifier, spec, key, known)
    if ca:
        yield from _secret_of("spec.tlsConfig.caCert", notifier, ca, [ca.get("key") or "ca.crt"], known)


def _value_of_notifier(notifier: Ref, spec: Mapping[str, Any], key: str, known: Existing) -> Iterator[tuple[str, str]]:
    """What is wrong with the value in a Notifier's Secret, where it can be read."""
    named_in = notifier.namespace or spec["secretRef"].get("namespace")
    secret = Ref("Secret", named_in, spec["secretRef"]["name"])
    found = known.find(secret) if named_in is not None else None
    value = (_values(found) if found is not None else {}).get(key)
    problem = problem_of(spec, value) if isinstance(value, str) and value else None
    if problem is not None:
        yield "spec.secretRef", f"the key {key} of {secret}: {problem}"


def _secret_of(
    field: str, source: Ref, config: Mapping[str, Any], keys: list[str], known: Existing
) -> Iterator[tuple[str, str]]:
    """The Secret of a source; of a cluster source without a namespace: any namespace's of that name."""
    name = config["secretRef"]["name"]
    namespace = source.namespace or config["secretRef"].get("namespace")
    if namespace is not None:
        yield from _secret(field, Ref("Secret", namespace, name), keys, known)
    elif not known.has_name("Secret", name):
        problem = f"no Secret {name} in these manifests; add it in the trigger's namespace"
        yield f"{field}.secretRef.name", f"{problem}, or pass it with --secret NAMESPACE/{name}/{keys[0]}=VARIABLE"


def _of_action(action: Ref, spec: Mapping[str, Any], known: Existing) -> Iterator[tuple[str, str]]:
    override = spec.get("sourceOverride")
    if override:
        target = named(override["kind"], action.namespace, override["name"])
        if target.namespace or override["kind"].startswith("Cluster"):
            yield from _missing("spec.sourceOverride.name", target, known)
    for field, kind, source, name in _objects(spec.get("actionJob") or {}):
        at = f"spec.actionJob.{field}"
        if source.get("optional") or not isinstance(name, str):
            continue
        if action.namespace is not None:
            yield from _object(at, Ref(kind, action.namespace, name), source.get("key"), known)
        elif not known.has_name(kind, name):
            yield at, f"no {kind} {name} in these manifests; add it in the namespaces of the triggers"


def _objects(job: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], Any]]:
    """The Secrets and ConfigMaps that the worker needs: field, kind, the reference, and its name."""
    for index, variable in enumerate(job.get("env") or ()):
        origin = _part(variable, "valueFrom")
        for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if source := _part(origin, field):
                yield f"env[{index}].valueFrom.{field}", kind, source, source.get("name")
    for index, origin in enumerate(job.get("envFrom") or ()):
        for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if source := _part(origin, field):
                yield f"envFrom[{index}].{field}", kind, source, source.get("name")
    for index, volume in enumerate(job.get("volumes") or ()):
        for field, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
            if source := _part(volume, field):
                yield f"volumes[{index}].{field}", kind, source, source.get("secretName") or source.get("name")


def _part(value: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """A mapping in a field; an empty one where there is none: what passes through a CRD may be anything."""
    found = value.get(field)
    return found if isinstance(found, Mapping) else {}


def _object(field: str, target: Ref, key: Any, known: Existing) -> Iterator[tuple[str, str]]:
    """An object, and a key of it if one is named."""
    found = known.find(target)
    if found is UNREAD:
        return
    if found is None:
        yield from _missing(field, target, known)
        return
    values = {**(found.get("data") or {}), **(found.get("stringData") or {})}
    if isinstance(key, str) and key not in values:
        there = ", ".join(sorted(values)) or "none"
        yield field, f"{target} has no key {key} (keys: {there}); add it there"


def _missing(field: str, target: Ref, known: Existing) -> Iterator[tuple[str, str]]:
    if known.find(target) is not None:
        return
    kinds = {target.kind, f"Cluster{target.kind}", target.kind.removeprefix("Cluster")}
    others = sorted(str(ref) for ref in known if ref.kind in kinds)
    there = f"there are: {', '.join(others[:5])}" if others else f"there is no {target.kind} at all"
    yield field, f"no {target} in these manifests ({there}); add it, or correct kind, namespace or name"


def _secret(field: str, secret: Ref, keys: list[str], known: Existing) -> Iterator[tuple[str, str]]:
    found = known.find(secret)
    if found is UNREAD:
        return
    if found is None:
        place = secret.name if secret.namespace == "default" else f"{secret.namespace}/{secret.name}"
        for at, problem in _missing(f"{field}.secretRef.name", secret, known):
            yield at, f"{problem}, or pass it with --secret {place}/{keys[0]}=VARIABLE"
        return
    values = _values(found)
    for key in keys:
        if key in values and not values[key]:
            yield f"{field}.secretRef.name", f"the key {key} of {secret} is empty; give it a value in its stringData"
        elif not values.get(key):
            there = ", ".join(sorted(values)) or "none"
            yield f"{field}.secretRef.name", f"{secret} has no key {key} (keys: {there}); add it to its stringData"


def _values(secret: Mapping[str, Any]) -> dict[str, Any]:
    """All values of a Secret, as `data` has them."""
    return {**(secret.get("data") or {}), **_encoded(secret.get("stringData") or {})}


def _encoded(texts: Mapping[str, Any]) -> dict[str, str]:
    return {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}

"""The last lines of a worker's log in messages: which values are masked, and what is left of the text.

A pod names Secrets (variables, volumes, credentials of registries) and has variables with values of their own. Each of
these values is replaced, also where it is encoded as base64 or for URLs, where it is a part of what is encoded (the
header of basic authentication), where lines are broken inside it, and each line of one that has several lines.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus

from git_events_runner.resources.job import RESERVED, timestamp

MASK = "***"
SECRETS_MAX = 20
LINE_CHARS = 400
_WORD_CHARS = 6  # a shorter value is masked where it is a word of its own: else it would be masked inside of others
_SHORTEST = 4  # of a line of a value, and of a variable
# Of the worker, without their prefix: `variables` in rules/jobs/manifest.
OWN_VARIABLES = (
    "WORKDIR",
    "TRIGGER_KIND",
    "TRIGGER_NAME",
    *(f"TRIGGER_SOURCE_{name}" for name in ("KIND", "NAME", "NAMESPACE", "COMMIT", "REF_TYPE", "REF_NAME")),
    *(f"ACTION_SOURCE_{name}" for name in ("KIND", "NAME", "NAMESPACE", "REF_TYPE", "REF_NAME")),
    "EVENT",
    "TRIGGER_SOURCE_PREVIOUS_COMMIT",
    "PULL_REQUEST_NUMBER",
    "PULL_REQUEST_TARGET",
    "RUN_NUMBER",
    "RUN_ATTEMPT",
    "CHANGED_FILES",
)
LOG_BYTES = 32 * 1024
VALUES_CHARS = 128 * 1024
FORMS_MAX = 2000
_SPANS_MAX = 10_000
_HTML = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&"})  # as Go escapes JSON
_URL_SAFE = str.maketrans("+/", "-_")
_HIDDEN = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def secrets_of(pod: Mapping[str, Any]) -> list[str]:
    """The names of the Secrets that a pod's spec names, without the copy of a clone's credential.

    That one is in the init container alone, and is deleted when it has cloned.

    >>> secrets_of({"containers": [{"envFrom": [{"secretRef": {"name": "a"}}]}], "imagePullSecrets": [{"name": "b"}]})
    ['a', 'b']
    """
    found = dict.fromkeys(_names(pod))
    return [name for name in found if not name.startswith(RESERVED)]


def _names(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in _containers(pod):
        for variable in _maps(container.get("env")):
            yield from _name(_map(_map(variable.get("valueFrom")).get("secretKeyRef")), "name")
        for origin in _maps(container.get("envFrom")):
            yield from _name(_map(origin.get("secretRef")), "name")
    for volume in _maps(pod.get("volumes")):
        yield from _name(_map(volume.get("secret")), "secretName")
        for source in _maps(_map(volume.get("projected")).get("sources")):
            yield from _name(_map(source.get("secret")), "name")
        for driver in ("csi", "flexVolume", "cephfs", "iscsi", "rbd", "scaleIO", "storageos"):
            for field in ("secretRef", "nodePublishSecretRef"):
                yield from _name(_map(_map(volume.get(driver)).get(field)), "name")
        yield from _name(_map(volume.get("azureFile")), "secretName")
    for one in _maps(pod.get("imagePullSecrets")):
        yield from _name(one, "name")


def has_changed(secret: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether the values of a Secret were written after a pod was created, which may have been given other ones.

    >>> pod = {"metadata": {"creationTimestamp": "2026-01-02T03:04:05Z"}}
    >>> written = {"time": "2026-01-02T03:04:06Z", "fieldsV1": {"f:data": {}}}
    >>> [has_changed({"metadata": {"managedFields": fields}}, pod) for fields in ([written], [])]
    [True, False]
    """
    metadata, begun = _map(secret.get("metadata")), timestamp(_map(pod.get("metadata")).get("creationTimestamp"))
    fields = [one for one in _maps(metadata.get("managedFields")) if "f:data" in _map(one.get("fieldsV1"))]
    times = [timestamp(text) for text in (metadata.get("creationTimestamp"), *(one.get("time") for one in fields))]
    return begun is not None and any(at is not None and at > begun for at in times)


def variables_of(pod: Mapping[str, Any], prefix: str) -> list[str]:
    """The values of a pod's variables that are written in its spec, without short ones and those of our own.

    An Action may have others that begin with our prefix, which may be empty, or one of the same name after ours.

    >>> given = [{"name": "A", "value": "word"}, {"name": "OUR_WORKDIR", "value": "/workdir"}]
    >>> variables_of({"containers": [{"env": given}]}, "OUR_")
    ['word']
    """
    return [
        value
        for container in _containers(pod)
        for own, value in _values(container, prefix)
        if len(value) >= _SHORTEST and not own
    ]


def is_worker(container: Mapping[str, Any], prefix: str) -> bool:
    """Whether a container has variables of our own: an admission webhook may have put a sidecar before it."""
    return any(own for own, _ in _values(container, prefix))


def _values(container: Mapping[str, Any], prefix: str) -> Iterator[tuple[bool, str]]:
    """The values of a container's variables, and whether each is one of our own."""
    own = {prefix + name for name in OWN_VARIABLES}
    for variable in _maps(container.get("env")):
        name = str(variable.get("name"))
        yield name in own, str(variable.get("value") or "")
        own.discard(name)


def last_lines(log: bytes, count: int, values: Iterable[str]) -> tuple[str, ...] | None:
    r"""The last lines of a log, each of at most 400 characters, with every one of the values masked.

    None: there are more values than can be masked.

    >>> last_lines(b"one\ntoken=abcdefgh\n\n", 1, ["abcdefgh"])
    ('token=***',)
    """
    given = list(dict.fromkeys(value for value in values if value.strip()))
    forms = {form for value in given for form in _forms(value)} if sum(map(len, given)) <= VALUES_CHARS else set()
    if (given and not forms) or len(forms) > FORMS_MAX:
        return None
    text = _masked(log[-LOG_BYTES:].decode("utf-8", "replace").replace("\r\n", "\n"), forms)
    if text is not None:  # again: what was hidden may have been inside a value
        text = _masked(_HIDDEN.sub("", text), forms)
    if text is None:
        return None
    lines = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    kept = [line for line in lines if line][-count:]
    return tuple(line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…" for line in kept)


def _masked(text: str, forms: Iterable[str]) -> str | None:
    """The text with everything masked that is part of a form, also where two overlap; None: there is too much of it."""
    places = [
        at for at, sign in enumerate(text) if sign != "\n"
    ]  # a value is found as if no line were broken inside it
    unbroken = text.replace("\n", "")
    found = (span for form in forms for span in _spans(text, unbroken, places, form))
    spans = sorted(islice(found, _SPANS_MAX + 1))
    if len(spans) > _SPANS_MAX:
        return None
    pieces, end = [], 0
    for begin, after in spans:
        if begin >= end:
            pieces += [text[end:begin], MASK]
        end = max(end, after)
    return "".join([*pieces, text[end:]])


def _spans(text: str, unbroken: str, places: list[int], form: str) -> Iterator[tuple[int, int]]:
    if len(form) >= _WORD_CHARS:
        wanted = form.replace("\n", "")
        at = unbroken.find(wanted) if wanted else -1
        while at >= 0:
            yield places[at], places[at + len(wanted) - 1] + 1
            at = unbroken.find(wanted, at + 1)
        return
    at = text.find(form)
    while at >= 0:
        after = at + len(form)
        if not (_is_word(text, at - 1) or _is_word(text, after)):
            yield at, after
        at = text.find(form, at + 1)


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")


def _forms(value: str) -> Iterator[str]:
    """A value as it may appear in a log: as it is, its lines, encoded."""
    bare = value.strip()
    lines = [line.strip() for line in bare.splitlines()]
    yield from (line for line in lines if len(lines) > 1 and len(line) >= _SHORTEST)
    if not bare or len(bare) > LOG_BYTES:
        return
    yield bare
    yield from (quote(bare, safe=kept) for kept in ("", "/", "!*'()", "$&+=:@"))  # of Python, JavaScript and Go
    yield from (quote_plus(bare), escape(bare), escape(bare, quote=False))
    yield from (bare.replace("'", "'\\''"), bare.replace("'", "''"), repr(bare)[1:-1])  # of a shell, YAML and Python
    for escaped in (json.dumps(bare)[1:-1], json.dumps(bare, ensure_ascii=False)[1:-1]):
        yield from (escaped, escaped.translate(_HTML), json.dumps(escaped)[1:-1])
    for text in {value, bare}:
        yield base64.b64encode(text.encode()).decode()
    for encoded in _encoded(bare.encode()):
        yield from (encoded, encoded.translate(_URL_SAFE))


def _encoded(value: bytes) -> Iterator[str]:
    """Base64 of a value, and what is always the same of it where it is a part of what is encoded.

    >>> list(_encoded(b"password"))
    ['cGFzc3dvcmQ', 'cGFzc3dvcm', 'Bhc3N3b3Jk', 'wYXNzd29yZ']
    """
    yield base64.b64encode(value).decode().rstrip("=")
    for before in range(3):  # bytes of the group of three that the value begins in
        encoded = base64.b64encode(bytes(before) + value).decode()
        complete = (before + len(value)) * 8 // 6
        found = encoded[before and before + 1 : complete]
        if len(found) >= _WORD_CHARS:
            yield found


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from _maps(pod.get(field))


def _name(value: Mapping[str, Any], field: str) -> Iterator[str]:
    found = value.get(field)
    if isinstance(found, str) and found:
        yield found


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

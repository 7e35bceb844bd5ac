"""The last lines of a worker's log in messages: which values are masked, and what is left of the text.

A pod names Secrets (variables, volumes, credentials of registries) and has variables with values of their own. Each of
these values is replaced, also where it is encoded as base64 or for URLs, and each line of one that has several lines.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote

from git_events_runner.resources.job import RESERVED

MASK = "***"
SECRETS_MAX = 20
LINE_CHARS = 400
_WORD_CHARS = 6  # a shorter value is masked where it is a word of its own: else it would be masked inside of others
_SHORTEST = 4  # of a line of a value, and of a variable
LOG_BYTES = 32 * 1024
VALUES_CHARS = 128 * 1024
FORMS_MAX = 500
_SPANS_MAX = 10_000
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


def variables_of(pod: Mapping[str, Any], prefix: str) -> list[str]:
    """The values of a pod's variables that are written in its spec, without short ones and those of our own.

    >>> given = [{"name": "A", "value": "word"}, {"name": "OUR_B", "value": "main"}]
    >>> variables_of({"containers": [{"env": given}]}, "OUR_")
    ['word']
    """
    return [
        str(variable["value"])
        for container in _containers(pod)
        for variable in _maps(container.get("env"))
        if len(str(variable.get("value") or "")) >= _SHORTEST and not str(variable.get("name")).startswith(prefix)
    ]


def last_lines(log: bytes, count: int, values: Iterable[str]) -> tuple[str, ...] | None:
    r"""The last lines of a log, each of at most 400 characters, with every one of the values masked.

    None: there are more values than can be masked.

    >>> last_lines(b"one\ntoken=abcdefgh\n\n", 1, ["abcdefgh"])
    ('token=***',)
    """
    given = list(dict.fromkeys(values))
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
    found = (span for form in forms for span in _spans(text, form))
    spans = sorted(islice(found, _SPANS_MAX + 1))
    if len(spans) > _SPANS_MAX:
        return None
    pieces, end = [], 0
    for begin, after in spans:
        if begin >= end:
            pieces += [text[end:begin], MASK]
        end = max(end, after)
    return "".join([*pieces, text[end:]])


def _spans(text: str, form: str) -> Iterator[tuple[int, int]]:
    at = text.find(form)
    while at >= 0:
        after = at + len(form)
        if len(form) >= _WORD_CHARS or not (_is_word(text, at - 1) or _is_word(text, after)):
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
    yield from (bare, quote(bare, safe=""), json.dumps(bare)[1:-1])
    for text in {value, bare}:
        encoded = base64.b64encode(text.encode()).decode()
        yield from (encoded, encoded.rstrip("="))


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

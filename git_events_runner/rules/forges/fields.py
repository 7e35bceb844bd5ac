"""A few fields of a large JSON text, without an object for all that is between them.

A push of hundreds of commits is tens of megabytes, of which a kilobyte is wanted; the objects that `json` makes of it
are ten times as large. Here values that are not wanted are skipped, in a bounded number of steps; the others are read
as `json` reads them. Only strings and brackets of skipped values are validated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .push import MalformedPayload

Wanted = Mapping[str, "Wanted"]
"""The keys that are wanted of an object, or of each object in a list; an empty mapping means a text or number."""

_STEPS = 2_000_000
_TEXT_BYTES = 64 * 1024
_ELEMENTS = 20_000
_DEPTH = 16
# At most 65,536 escapes and runs between them in one string: a match holds the interpreter until it is done.
_STRING = rb'"(?:[^"\\\x00-\x1f]{1,65536}+|\\.){0,65536}+"'
_TOKEN = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb"|[-+.0-9A-Za-z]++|[\[\]{},:])")
_NEXT = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb"|([\[{])|([\]}]))")
_REST = re.compile(rb"[ \t\r\n]*+\Z")


def fields(body: bytes, wanted: Wanted) -> Any:
    """The wanted part of a JSON text.

    >>> fields(b'{"a": {"b": 1, "c": [2]}, "d": "x", "e": [{"f": 3}]}', {"a": {"b": {}}, "e": {"f": {}}})
    {'a': {'b': 1}, 'e': [{'f': 3}]}

    Raises:
        MalformedPayload: It is no JSON, or has too many parts.
    """
    reader = _Reader(body)
    found = reader.value(wanted, _DEPTH)
    if not _REST.match(body, reader.at):
        raise _no_json()
    return found


class _Reader:
    """A position in a text."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0
        self._steps = 0

    def value(self, wanted: Wanted, depth: int) -> Any:
        """The value that begins here, without what is not wanted."""
        token = self._token()
        if token == b"{" and wanted and depth:
            return self._members(wanted, depth)
        if token == b"[" and wanted and depth:
            return self._elements(wanted, depth)
        if token in {b"{", b"["}:
            self._skip()
            return None
        return None if wanted or len(token) > _TEXT_BYTES else _scalar(token)

    def _members(self, wanted: Wanted, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left = _ELEMENTS
        token = self._token()
        while token != b"}":
            key = _scalar(token) if len(token) <= _TEXT_BYTES else ""
            left -= 1
            if not isinstance(key, str) or self._token() != b":" or key in found or left < 0:
                raise _no_json()
            if key in wanted:
                found[key] = self.value(wanted[key], depth - 1)
            else:
                self._pass()
            token = self._token()
            if token == b",":
                token = self._token()
            elif token != b"}":
                raise _no_json()
        return found

    def _elements(self, wanted: Wanted, depth: int) -> list[Any]:
        found: list[Any] = []
        before = self.at
        if self._token() == b"]":
            return found
        self.at = before
        while True:
            found.append(self.value(wanted, depth - 1))
            token = self._token()
            if token == b"]":
                return found
            if token != b"," or len(found) >= _ELEMENTS:
                raise _no_json()

    def _pass(self) -> None:
        token = self._token()
        if token in {b"{", b"["}:
            self._skip()
        elif token in {b"}", b"]", b",", b":"}:
            raise _no_json()

    def _skip(self) -> None:
        """Skip the rest of an object or a list."""
        depth = 1
        while depth:
            self._step()
            match = _NEXT.match(self._body, self.at)
            if match is None:
                raise _no_json()
            depth += 1 if match[1] else -1 if match[2] else 0
            self.at = match.end()

    def _token(self) -> bytes:
        self._step()
        match = _TOKEN.match(self._body, self.at)
        if match is None:
            raise _no_json()
        self.at = match.end()
        return match[1] if self.at - match.start(1) <= _TEXT_BYTES else b'"' + b"?" * _TEXT_BYTES

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise MalformedPayload("the body has too many parts")


def _scalar(token: bytes) -> Any:
    try:
        return json.loads(token, parse_constant=_no_number)
    except ValueError:
        raise _no_json() from None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _no_json() -> MalformedPayload:
    return MalformedPayload("the body is not JSON")

"""A few fields of a large JSON text: as `json` reads them, within bounds."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.forges.fields import fields
from git_events_runner.rules.forges.push import MalformedPayload

WANTED = {"a": {}, "b": {"a": {}, "c": {"a": {}}}}
KEYS = st.sampled_from(["a", "b", "c", "d", "\u2603", '"', "\\"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=30,
)


def picked(value, wanted):
    """What is wanted of a value that was read as a whole."""
    if isinstance(value, dict) and wanted:
        return {key: picked(value[key], wanted[key]) for key in value if key in wanted}
    if isinstance(value, list) and wanted:
        return [picked(one, wanted) for one in value]
    return None if wanted or isinstance(value, dict | list) else value


@given(JSON, st.sampled_from([None, 1]), st.booleans())
def test_the_fields_are_those_that_json_reads(value, indent, ascii_only):
    """Whatever stands between them, however it is written."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert fields(text, WANTED) == picked(value, WANTED)


@given(st.binary(max_size=60) | st.text('{}[]",:\\ab1 ', max_size=60).map(str.encode))
def test_no_bytes_make_another_error(body):
    """A body that cannot be read says so."""
    with contextlib.suppress(MalformedPayload):
        fields(body, WANTED)


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":' + b"[" * 3_000_000,
        b'{"x":[' + b"[]," * 3_000_000,
        b"{" + b'"x":1,' * 100_000,
        b'{"b":[' + b"{}," * 100_000,
        b'{"x":"' + b"\\\\n" * 3_000_000 + b'"}',
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":1}x',
        b'{"a"}',
        b"",
    ],
    ids=range(10),
)
def test_what_has_no_end_or_no_sense_is_unreadable(body):
    """Millions of brackets, members, elements or escapes; a wanted key twice; no number; not JSON."""
    with pytest.raises(MalformedPayload):
        fields(body, WANTED)

"""Last lines of a worker's log: every value that its pod was given is masked, in every form."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.notifications.worker_log import FORMS_MAX, last_lines, secrets_of

SECRET = "canary/5b31 568a+ü"
KEY = "-----BEGIN KEY-----\nQUJDREVGR0hJSktM\nTU5PUFFSU1RVVldY\n-----END KEY-----\n"


@pytest.mark.parametrize(
    "printed",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode() + b"\n").decode(),
        SECRET[:6] + "\x1b[31m" + SECRET[6:],
        SECRET[:6] + "\u200b" + SECRET[6:],
        f"{SECRET}{SECRET}",
        f"password={SECRET}&x",
    ],
)
def test_a_value_is_masked_in_every_form(printed):
    """As it is, encoded, between other text, with colours or invisible characters in it."""
    [line] = last_lines(f"a {printed} b\n".encode(), 1, [SECRET + "\n"])
    assert "***" in line
    assert "568a" not in line
    assert base64.b64encode(SECRET.encode()).decode()[:8] not in line


def test_each_line_of_a_key_is_masked():
    """Also where the tail begins inside it."""
    text = "".join(f"> {line}\n" for line in KEY.splitlines()[1:])
    assert last_lines(text.encode(), 9, [KEY]) == ("> ***", "> ***", "> ***")


def test_values_that_overlap_leave_nothing_of_each_other():
    """One ends where the other has begun."""
    assert last_lines(b"abcdefghijkl\n", 1, ["abcdefgh", "efghijkl"]) == ("***",)


def test_a_short_value_is_masked_as_a_word():
    """Inside of words it would make the text unreadable."""
    assert last_lines(b"pin 1234, build 12345\n", 1, ["1234"]) == ("pin ***, build 12345",)


@given(st.lists(st.text(min_size=6, max_size=12).filter(lambda text: text.strip() == text), max_size=4), st.text())
def test_no_value_is_left(values, text):
    """Whatever is around it."""
    printed = text + "".join(values) + text
    found = "\n".join(last_lines(printed.encode(), 50, values))
    assert not [one for one in values if one.isprintable() and one in found.replace("***", "\0")]


def test_too_many_values_are_no_lines():
    """Masking them would take too long; none is sent then."""
    values = [f"value-{number:08}" for number in range(FORMS_MAX)]
    assert last_lines(b"x\n", 1, values) is None


def test_the_last_lines_are_kept_and_long_ones_are_cut():
    """Empty ones are left out; a progress bar is its last state."""
    log = b"one\n\n 10 %\r 99 %\r\n" + b"x" * 1000 + b"\n"
    assert last_lines(log, 2, []) == (" 99 %", "x" * 399 + "…")


def test_every_secret_that_a_pod_names_is_found():
    """Variables, volumes of all kinds, registries; of containers of all kinds."""
    named = {"name": "x", "valueFrom": {"secretKeyRef": {"name": "env"}}}
    pod = {
        "initContainers": [{"env": [named | {"valueFrom": {"secretKeyRef": {"name": "init"}}}]}],
        "containers": [{"env": [named, {"name": "y", "value": "z"}], "envFrom": [{"secretRef": {"name": "all"}}]}],
        "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "debug"}}]}],
        "volumes": [
            {"secret": {"secretName": "volume"}},
            {"projected": {"sources": [{"secret": {"name": "part"}}, {"secret": {"name": "git-events-runner-job"}}]}},
            {"csi": {"nodePublishSecretRef": {"name": "driver"}}},
            {"azureFile": {"secretName": "share"}},
            {"cephfs": {"secretRef": {"name": "ceph"}}},
        ],
        "imagePullSecrets": [{"name": "registry"}],
    }
    expected = {"env", "init", "all", "debug", "volume", "part", "driver", "share", "ceph", "registry"}
    assert set(secrets_of(pod)) == expected
    assert secrets_of({"containers": None, "volumes": [None, "x"]}) == []

"""Last lines of a worker's log: every value that its pod was given is masked, in every form."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.jobs.run import Clone, PullRequestOfRun
from git_events_runner.rules.notifications.worker_log import (
    FORMS_MAX,
    OWN_VARIABLES,
    last_lines,
    secrets_of,
    variables_of,
)
from tests.rules.test_manifest import APP, made, pod

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
        quote(SECRET, safe="!*'()"),
        json.dumps(json.dumps(SECRET)[1:-1])[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        SECRET[:6] + "\n" + SECRET[6:],
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


@pytest.mark.parametrize("user", ["", "u", "us", "user"])
@pytest.mark.parametrize("value", ["canary5b31568a", "canary5b31568ab", "canary5b31568abc"])
def test_a_value_is_masked_inside_of_what_is_encoded(user, value):
    """A header of basic authentication contains it at one of three places of a group."""
    for printed in (f"{user}:{value}", f"{value}:x", f"{user}:{value}:x"):
        encoded = base64.b64encode(printed.encode()).decode()
        [line] = last_lines(f"Basic {encoded}\n".encode(), 1, [value])
        left = line.removeprefix("Basic ").replace("***", "")
        assert len(left) <= len(encoded) - len(value) * 8 // 6 + 3, (line, encoded)


@pytest.mark.parametrize("width", [64, 76])
def test_base64_that_is_broken_into_lines_is_masked(width):
    """As `base64` and `openssl base64` print it, in lines of 76 or 64 characters."""
    value = "canary" + "0123456789" * 20
    encoded = base64.b64encode(value.encode()).decode()
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
    found = last_lines(("a\n" + "\n".join(lines) + "\nb\n").encode(), 9, [value])
    assert [line for line in found if line.strip("*=")] == ["a", "b"]


@pytest.mark.parametrize("escaped", ["a<canary>&5b31", "a\\u003ccanary\\u003e\\u00265b31"])
def test_json_that_is_safe_in_html_is_masked(escaped):
    """As Go's encoder escapes it."""
    assert last_lines(f"x {escaped} y\n".encode(), 1, ["a<canary>&5b31"]) == ("x *** y",)


@pytest.mark.parametrize("printed", ["it'\\''s/canary", "it''s/canary", "it&#x27;s/canary", "it%27s/canary"])
def test_what_is_quoted_or_escaped_is_masked(printed):
    """As a shell prints it with `set -x`; in YAML, in HTML, and in a URL where a slash stays."""
    assert last_lines(f"+ login '{printed}'\n".encode(), 1, ["it's/canary"]) == ("+ login '***'",)


def test_values_of_blanks_alone_mask_nothing():
    """An empty value in a Secret is no reason to send no line."""
    assert last_lines(b"exit 3\n", 1, [" ", "\n"]) == ("exit 3",)


@pytest.mark.parametrize("prefix", ["", "OUR_"])
def test_only_our_own_variables_are_no_secrets(prefix):
    """The prefix may be empty, or that of an Action's variables, too; one of the same name overrides ours."""
    env = [
        {"name": f"{prefix}WORKDIR", "value": "/workdir"},
        {"name": f"{prefix}PASSWORD", "value": "canary"},
        {"name": f"{prefix}WORKDIR", "value": "override"},
    ]
    assert variables_of({"containers": [{"env": env}]}, prefix) == ["canary", "override"]


def test_our_own_variables_are_those_of_the_manifest():
    """All that the controller gives a worker, and no other ones."""
    pull = PullRequestOfRun(number="7", target="main")
    job = made(override=True, clone=Clone(pointer=APP, description="{}"), previous_commit="b" * 40, pull=pull)
    [worker] = pod(job)["containers"]
    assert sorted(variable["name"] for variable in worker["env"]) == sorted(f"ACTION_JOB_{n}" for n in OWN_VARIABLES)


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
    named_pod = {
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
    assert set(secrets_of(named_pod)) == expected
    assert secrets_of({"containers": None, "volumes": [None, "x"]}) == []

"""Specs of Notifiers that cannot work are refused, with what to write."""

import pytest

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.parse import parse

WEBHOOK = {"type": "webhook", "address": "https://x", "secretRef": {"name": "key"}}
STATUS = {
    "type": "commit-status",
    "commitStatus": {"forge": "gitea", "apiUrl": "https://git.example"},
    "secretRef": {"name": "token"},
}


def parsed(spec):
    return parse(
        {
            "apiVersion": "git-events-runner.rs/v1alpha1",
            "kind": "Notifier",
            "metadata": {"name": "one", "namespace": "team", "uid": "u"},
            "spec": spec,
        }
    )


@pytest.mark.parametrize(
    "address",
    [
        "https://receiver.example",
        "https://receiver.example:65535/a?b=%20c",
        "http://10.0.0.1:8080/",
        "https://[2001:db8::1]:443/hook",
        "http://receiver_1.team.svc:1/x",
    ],
)
def test_addresses_that_exist_are_accepted(address):
    """Names, IP addresses, ports, paths and queries."""
    assert parsed(WEBHOOK | {"address": address}).spec.address == address


@pytest.mark.parametrize(
    "address",
    [
        "https://receiver.example:99999/x",
        "https://receiver.example:0/",
        "https://receiver.example:/",
        "https://receiver.example/#fragment",
        "https://user@receiver.example/",
        "https://-receiver/",
        "https:///path",
        "https://[not-ipv6]/",
        "ftp://receiver.example/",
        "https://receiver.example/a b",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address):
    """By its form alone."""
    for spec in (WEBHOOK | {"address": address}, STATUS | {"commitStatus": {"forge": "gitea", "apiUrl": address}}):
        with pytest.raises(InvalidObject, match="write an address as"):
            parsed(spec)


@pytest.mark.parametrize("host", ["https://x/", "x/", "x:80", "", "-x", "x y"])
def test_a_host_is_a_name_alone(host):
    """Anything else would match no repository."""
    with pytest.raises(InvalidObject, match="write the name of a host alone"):
        parsed(STATUS | {"commitStatus": STATUS["commitStatus"] | {"hosts": [host]}})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (STATUS | {"logLines": 5}, "no room for the log"),
        (WEBHOOK | {"logLines": 0}, "logLines"),
        (WEBHOOK | {"logLines": 51}, "logLines"),
        (WEBHOOK | {"logLines": "5"}, "logLines"),
    ],
)
def test_lines_of_the_log_are_a_few_and_not_in_a_status(spec, message):
    """A commit status has 140 characters."""
    with pytest.raises(InvalidObject, match=message):
        parsed(spec)


def test_lines_of_the_log_are_off_by_default():
    """A Notifier asks for them."""
    assert parsed(WEBHOOK).spec.log_lines is None
    assert parsed(WEBHOOK | {"logLines": 5}).spec.log_lines == 5

"""Known hosts as OpenSSH reads them, SSH addresses, and what a source's status says about its host key."""

import re
import shutil
import subprocess

import pytest

from git_events_runner.resources.description import SourceDescription
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.ssh import HostKeyPolicy, SshAddress, host_keys, known_for, problem_of, read_host_key
from git_events_runner.rules.host_keys import HostKeyVerdict, accepted, advice
from git_events_runner.rules.jobs.clone import describe, secrets_of
from git_events_runner.rules.jobs.manifest import secret_copy
from git_events_runner.rules.jobs.run import Clone, SecretKeys
from tests.rules.test_manifest import APP, made, pod

ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC/PT/oy8na6wZRMtAKqSBB8Gs1QRluIiToyKohng0Sx"
HASHED = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg="  # 192.168.1.61
NOW = "2026-05-06T07:08:09Z"


@pytest.mark.parametrize(
    ("url", "user", "host", "port", "path"),
    [
        ("git@github.com:owner/app.git", "git", "github.com", 22, "owner/app.git"),
        ("git@Git.Example:/srv/app", "git", "git.example", 22, "/srv/app"),
        ("ssh://git.example/srv/app.git", "git", "git.example", 22, "/srv/app.git"),
        ("ssh://me@git.example:2222/~you/app", "me", "git.example", 2222, "~you/app"),
        ("SSH://me@[2001:db8::1]:22/a/b", "me", "2001:db8::1", 22, "/a/b"),
    ],
)
def test_addresses(url, user, host, port, path):
    """Login, host, port and path are those that git takes from the URL."""
    assert SshAddress.of(url) == SshAddress(user=user, host=host, port=port, path=path)


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/a/b",
        "git.example:a/b",
        "git@-oProxyCommand=x:a/b",
        "ssh://-oProxyCommand=x/a",
        "ssh://h",
        "ssh://h:0/a",
        "ssh://h:65536/a",
        "ssh://u:p@h/a",
        "ssh://h/a b",
        "git@h:a\nb",
        "ext::sh -c id",
    ],
)
def test_what_is_no_ssh_address(url):
    """Other schemes, options in disguise, passwords and control characters are none."""
    assert SshAddress.of(url) is None


KNOWN = f"""
# a comment
git.example,10.0.0.1 {ED}
[git.example]:2222 {OTHER}
*.inner,!secret.inner {ED} with a comment
{HASHED} {ED}
Upper.Example {ED}
w?ld.example {ED}
"""


@pytest.mark.parametrize(
    "host",
    [
        "git.example",
        "10.0.0.1",
        "[git.example]:2222",
        "[git.example]:2223",
        "a.inner",
        "secret.inner",
        "inner",
        "192.168.1.61",
        "192.168.1.62",
        "upper.example",
        "wild.example",
        "wiild.example",
        "elsewhere",
    ],
)
def test_lines_are_found_as_ssh_keygen_finds_them(tmp_path, host):
    """Patterns, negation, ports, hashed names and case mean what they mean to OpenSSH."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    path = tmp_path / "known_hosts"
    path.write_text(KNOWN)
    done = subprocess.run(["ssh-keygen", "-F", host, "-f", path], capture_output=True, text=True, check=False)
    found = {int(number) for number in re.findall(r"^# Host .* line ([0-9]+)", done.stdout, re.MULTILINE)}
    read = [(number, read_host_key(line)) for number, line in enumerate(KNOWN.splitlines(), 1)]
    assert {number for number, each in read if each is not None and each.of(host)} == found


def test_a_port_is_looked_for_first():
    """A host on another port has its own keys; without such, those of the host count, as with OpenSSH."""
    on_port = SshAddress(user="git", host="git.example", port=2222, path="")
    elsewhere = SshAddress(user="git", host="git.example", port=2200, path="")
    assert [each.key for each in host_keys(KNOWN.splitlines(), on_port)] == [OTHER]
    assert [each.key for each in host_keys(KNOWN.splitlines(), elsewhere)] == [ED]


def test_the_installation_decides_before_the_pin():
    """A host that the installation lists is judged by that list alone; a pin of another host says nothing."""
    address = SshAddress.of("git@git.example:a/b")
    listed = HostKeyPolicy(known_hosts=f"git.example {OTHER}")
    pinned = [f"git.example {ED}"]
    assert known_for(address, listed, pinned) == (f"git.example {OTHER}",)
    assert known_for(address, HostKeyPolicy(), pinned) == (f"git.example {ED}",)
    assert known_for(address, HostKeyPolicy(), [f"elsewhere {ED}"]) == ()
    authority = HostKeyPolicy(known_hosts=f"@cert-authority *.example {ED}")
    assert known_for(address, authority, ()) == (f"@cert-authority git.example {ED}",)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("git.example", "a line is"),
        (f"@other git.example {ED}", "marker"),
        ("git.example ssh-ed25519 !!!", "base64"),
        (f"git.example ssh-rsa {ED.split()[1]}", "type"),
    ],
)
def test_wrong_lines_are_named(line, problem):
    """A text with a wrong line is refused with the line's number and what is wrong with it."""
    assert problem_of(KNOWN) is None
    found = problem_of(f"{KNOWN}{line}\n")
    assert found.startswith(f"line {len(KNOWN.splitlines()) + 1}: ")
    assert problem in found
    assert host_keys([line], SshAddress.of("git@git.example:a/b")) == ()


def source(**spec):
    return parse(
        {
            "apiVersion": "git-events-runner.rs/v1alpha1",
            "kind": "GitRepo",
            "metadata": {"name": "app", "namespace": "team", "generation": 3},
            "spec": {"repoUri": "git@git.example:a/b", **spec},
            "status": {"hostKeys": [f"git.example {ED}"]},
        }
    )


SSH = {"type": "ssh", "secretRef": {"name": "deploy"}, "keys": {"privateKey": "id"}}


def test_a_job_gets_the_host_keys_and_the_key():
    """The description holds the keys that are accepted, the volume the private key, and the rest if it is there."""
    model = source(authConfig=SSH)
    [keys] = secrets_of(model, "team")
    assert (keys.files, keys.optional) == ({"id": "ssh-privatekey"}, ("passphrase", "known_hosts"))
    described = describe(model, HostKeyPolicy(), model.status.host_keys)
    assert described.host_keys == (f"git.example {ED}",)
    assert SourceDescription.parse(described.to_json()) == described
    job = made(clone=Clone(pointer=APP, description=described.to_json(), secrets=(keys,)))
    [volume] = [each for each in pod(job)["volumes"] if "source" in each["name"]]
    assert volume["projected"]["sources"] == [
        {"secret": {"name": "deploy", "items": [{"key": "id", "path": "ssh-privatekey"}]}},
        {
            "secret": {
                "name": "deploy",
                "optional": True,
                "items": [{"key": "passphrase", "path": "passphrase"}, {"key": "known_hosts", "path": "known_hosts"}],
            }
        },
    ]
    elsewhere = SecretKeys(namespace="vault", name="deploy", files=keys.files, optional=keys.optional)
    copied = made(clone=Clone(pointer=APP, description=described.to_json(), secrets=(elsewhere,)))
    metadata = copied["metadata"] | {"uid": "5678"}
    copy_name = secret_copy({"metadata": metadata}, {})["metadata"]["name"]
    [volume] = [each for each in pod(copied)["volumes"] if "source" in each["name"]]
    assert [each["secret"]["name"] for each in volume["projected"]["sources"]] == [copy_name] * 2
    assert volume["projected"]["sources"][0]["secret"]["items"] == [{"key": "ssh-privatekey", "path": "ssh-privatekey"}]
    assert volume["projected"]["sources"][1]["secret"]["optional"] is True
    anything = describe(model, HostKeyPolicy(mode="insecure"), model.status.host_keys)
    assert (anything.host_keys, anything.any_host_key) == ((), True)
    plain = describe(source(repoUri="https://git.example/a"), HostKeyPolicy(mode="insecure"))
    assert '"ssh"' not in plain.to_json()


def test_a_status_is_written_when_it_says_something_new():
    """A refusal is Ready=False and Stalled; the same again is no write; a pin or an answer ends it."""
    changed = HostKeyVerdict(reason="HostKeyChanged", message="m")
    status = changed.applied({}, generation=3, now=NOW)
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
        ("Ready", "False", "HostKeyChanged"),
        ("Stalled", "True", "HostKeyChanged"),
    ]
    assert "hostKeys" not in status
    assert changed.applied(status, generation=3, now=NOW) is None
    pin = HostKeyVerdict(reason="HostKeyPinned", message="p", pin=("line",))
    pinned = pin.applied(status, generation=3, now=NOW)
    assert [(c["type"], c["status"]) for c in pinned["conditions"]] == [("Ready", "True")]
    assert pinned["hostKeys"] == ["line"]
    assert pin.applied(pinned, generation=3, now=NOW) is None
    assert pin.applied({**pinned, "hostKeys": []}, generation=3, now=NOW)["hostKeys"] == ["line"]
    assert accepted(status, HostKeyPolicy(), own=False).reason == "Succeeded"
    assert accepted(pinned, HostKeyPolicy(), own=False) is None
    loose = HostKeyPolicy(mode="insecure")
    unchecked = accepted(pinned, loose, own=False)
    assert unchecked.reason == "HostKeyNotChecked"
    assert accepted(unchecked.applied(pinned, generation=3, now=NOW), loose, own=False) is None
    assert accepted(pinned, loose, own=True) is None


def test_advice_names_the_place():
    """Whoever has to act is told where: the pin by a command, the installation's list, or the Secret."""
    address, pinning = SshAddress.of("git@git.example:a/b"), HostKeyPolicy()
    mine, shared = Ref("GitRepo", "team", "app"), Ref("ClusterGitRepo", None, "tools")
    told = advice(mine, address, pinning, own=False, reason="HostKeyChanged")
    assert "kubectl -n team patch gitrepo app --subresource=status" in told
    assert "kubectl patch clustergitrepo tools" in advice(shared, address, pinning, own=False, reason="HostKeyChanged")
    listed = HostKeyPolicy(known_hosts=f"git.example {ED}")
    assert "git.knownHosts" in advice(mine, address, listed, own=False, reason="HostKeyChanged")
    assert "git.knownHosts" in advice(mine, address, HostKeyPolicy(mode="strict"), own=False, reason="HostKeyUnknown")
    assert "Secret" in advice(mine, address, listed, own=True, reason="HostKeyChanged")

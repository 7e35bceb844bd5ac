"""Private keys for SSH: every usual one is read, and no text makes that expensive."""

import time

import asyncssh
import pytest
from cryptography.hazmat.primitives import serialization as forms

from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.ssh.key_bounds import KeyBounds
from git_events_runner.edges.git.ssh.keys import Keys, read_key
from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.bounds import KEY_BYTES
from tests.edges.git.hostilekeys import P, Q, der, openssh, pbes2, pem, rsa_pem, small_primes

BOUNDS = KeyBounds()


def cpu_s(work):
    started = time.thread_time()
    result = work()
    return time.thread_time() - started, result


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem"])
@pytest.mark.parametrize("passphrase", [None, "pass word"])
def test_usual_keys(kind, form, passphrase):
    """Keys of the usual types are read in the usual forms, text around them or not."""
    made = asyncssh.generate_private_key(kind)
    text = made.export_private_key(form, passphrase).decode()
    for around in (text, f"# deploy key\n{text}\n\n", text.replace("\n", "\r\n")):
        assert read_key(around, passphrase, BOUNDS) == made


def test_old_encryption():
    """Keys encrypted as OpenSSL did before PBES2 are read."""
    made = asyncssh.generate_private_key("ssh-rsa")
    key = made.pyca_key
    text = key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, forms.BestAvailableEncryption(b"pass")
    )
    assert read_key(text.decode(), "pass", BOUNDS) == made
    text = made.export_private_key("pkcs8-pem", "pass", "des3-cbc", "sha1", pbe_version=1).decode()
    assert read_key(text, "pass", BOUNDS) == made


def test_an_rsa_key_of_large_known_primes():
    """A key of 19,630 bits is refused by its size within a tenth of a second, not after minutes with the lock held."""
    used, found = cpu_s(lambda: read_key(rsa_pem(P, Q), None, BOUNDS))
    assert "RSA key of 19630 bits; at most 4096 are used (git.sshKeyBits)" in found
    assert used < 0.1


@pytest.mark.parametrize("change", [{"dp": 3}, {"qi": 5}])
def test_rsa_numbers_that_do_not_belong_together(change):
    """An RSA key whose parts disagree is refused: each of its signatures would take four times as long."""
    assert "do not belong together" in read_key(rsa_pem(*small_primes(), **change), None, BOUNDS)


def test_a_raised_limit():
    """The runtime config's limit of bits decides."""
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    text = key.export_private_key().decode()
    assert "at most 1024 are used" in read_key(text, None, KeyBounds(bits=1024))
    assert read_key(text, None, KeyBounds(bits=2048)) == key


@pytest.mark.parametrize("rounds", [257, 0xFFFF_FFFF])
def test_bcrypt_rounds(rounds):
    """More rounds of bcrypt than allowed are not begun."""
    used, found = cpu_s(lambda: read_key(openssh(rounds), "pass", BOUNDS))
    assert f"{rounds} rounds of bcrypt; at most 256 are computed (git.sshKeyRounds)" in found
    assert used < 0.1


@pytest.mark.parametrize(
    "text",
    [pbes2(2**31), pbes2(2**80), pbes2(1000, size=2**31), pbes2(1000, salt=4000)],
    ids=["iterations", "more", "size", "salt"],
)
def test_pbkdf2(text):
    """More iterations of PBKDF2 than allowed, or a larger result, are not begun."""
    used, found = cpu_s(lambda: read_key(text, "pass", BOUNDS))
    assert "is encrypted" in found
    assert used < 0.1


def test_an_envelope_within_the_bounds():
    """The same envelope with ordinary numbers is tried, and its passphrase does not fit."""
    assert "passphrase does not fit" in read_key(pbes2(100_000), "pass", BOUNDS)
    assert "passphrase does not fit" in read_key(openssh(16), "pass", BOUNDS)


@pytest.mark.parametrize(
    "text",
    [
        "x" * (KEY_BYTES + 1),
        "-----BEGIN RSA PRIVATE KEY-----\n" * 500,
        pem("", b"\x30\x82\x0f\xff" * 2900),
        pem("RSA ", der(0x30, *[der(5)] * 5800)),
        pem("RSA ", der(6, b"\xff" * 11_000 + b"\1")),
        pem("ENCRYPTED ", der(0x30, *[der(0x30)] * 5000)),
        pem("ENCRYPTED ", b"\x30\x84\xff\xff\xff\xff"),
        pem("OPENSSH ", b"openssh-key-v1\0" + b"\xff" * 100),
        pem("OPENSSH ", b""),
        "",
    ],
    ids=["long", "begins", "nested", "flat", "oid", "envelope", "length", "cut", "empty", "none"],
)
def test_other_texts(text):
    """Any other text is refused in words, and cheaply."""
    used, found = cpu_s(lambda: read_key(text, "pass", BOUNDS))
    assert isinstance(found, str)
    assert used < 0.2


async def test_a_key_is_read_once():
    """The same text is not decrypted again; neither is one that cannot be."""
    keys = Keys(BOUNDS)
    made = asyncssh.generate_private_key("ssh-ed25519").export_private_key(passphrase="pass").decode()
    access = SshAccess(private_key=made, passphrase="pass")
    assert await keys.of(access, owner="a") is await keys.of(access, owner="b")
    for _ in range(2):
        with pytest.raises(SecretUnusable, match="sshKeyRounds") as error:
            await keys.of(SshAccess(private_key=openssh(1000), passphrase="pass"), owner="a")
        assert error.value.reason == "SecretInvalid"
    assert await keys.of(SshAccess(), owner="a") is None

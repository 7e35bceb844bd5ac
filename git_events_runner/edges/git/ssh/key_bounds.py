"""What reading an SSH private key may cost, decided from its envelope before a library reads it (pure).

A tenant supplies the key. Its envelope defines the work of its decryption: rounds of bcrypt (OpenSSH's PROTOCOL.key),
iterations of PBKDF2 (RFC 8018). Both are 32 bits wide and more, so a key of 400 bytes could occupy a thread for years.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from git_events_runner.resources.bounds import KEY_BYTES, PASSPHRASE_BYTES

ITERATIONS = 2_000_000  # of PBKDF2: half a second
_OLD_ITERATIONS = 10_000  # of the schemes before it, which the library computes in Python
_KEY_SIZE = 64
_SALT_BYTES = 64
_DEPTH, _NODES = 8, 64
_BEGIN, _END, _KIND = "-----BEGIN ", "-----END ", "PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SEQUENCE, _INTEGER, _OCTETS, _NULL, _OID = 0x30, 0x02, 0x04, 0x05, 0x06


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBounds:
    """What the runtime config allows: bits of an RSA key, rounds of an encrypted OpenSSH key's bcrypt."""

    bits: int = 4096
    rounds: int = 256


class KeyRefused(ValueError):
    """A key that is not read; the text names the problem and what to do, to follow "the SSH private key"."""


def bounded_pem(text: str, passphrase: str | None, bounds: KeyBounds) -> str:
    """The PEM block of the private key in a text, if reading it is work within the bounds.

    Raises:
        KeyRefused: It is larger, or costs more; or there is none.
    """
    if len(text) > KEY_BYTES:
        raise KeyRefused(f"is longer than {KEY_BYTES} characters; put the key alone into the Secret")
    if passphrase is not None and len(passphrase.encode()) > PASSPHRASE_BYTES:
        raise KeyRefused(f"has a passphrase of more than {PASSPHRASE_BYTES} bytes; encrypt it with a shorter one")
    lines = [line.strip() for line in text.splitlines()]
    first = next((at for at, line in enumerate(lines) if line.startswith(_BEGIN) and line.endswith(_KIND)), None)
    if first is None:
        raise KeyRefused("cannot be read; it must be complete, in OpenSSH or PEM form")
    end = lines[first].replace(_BEGIN, _END, 1)
    try:
        last = lines.index(end, first)
    except ValueError:
        raise KeyRefused("cannot be read; it must be complete, in OpenSSH or PEM form") from None
    label, body = lines[first][len(_BEGIN) : -len(_KIND)].strip(), lines[first + 1 : last]
    if label == "OPENSSH":
        _check_openssh(_decoded(body), bounds)
    elif label == "ENCRYPTED":
        _check_pkcs8(_decoded(body))
    return "\n".join((*lines[first : last + 1], ""))


def _decoded(lines: list[str]) -> bytes:
    try:
        return base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        raise KeyRefused("cannot be read: it is not base64") from None


def _check_openssh(data: bytes, bounds: KeyBounds) -> None:
    """The envelope is: magic, cipher, KDF, its options (salt, rounds), and more that costs nothing."""
    if not data.startswith(_MAGIC):
        raise KeyRefused("cannot be read; it must be complete, in OpenSSH or PEM form")
    _, at = _string(data, len(_MAGIC))
    kdf, at = _string(data, at)
    options, _ = _string(data, at)
    if kdf == b"none":
        return
    _, at = _string(options, 0)
    rounds = int.from_bytes(options[at : at + 4])
    if rounds > bounds.rounds:
        raise KeyRefused(
            f"is encrypted with {rounds} rounds of bcrypt; at most {bounds.rounds} are computed "
            f"(git.sshKeyRounds): encrypt it again with fewer, `ssh-keygen -p -a 16 -f KEY`"
        )


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string of the SSH protocol (RFC 4251), and where it ends."""
    start = at + 4
    end = start + int.from_bytes(data[at:start])
    if end > len(data):
        raise KeyRefused("cannot be read: it is cut off")
    return data[start:end], end


def _check_pkcs8(data: bytes) -> None:
    """Every number in the envelope of an encrypted PKCS#8 key is one of iterations, or the size of the result."""
    numbers, salts, schemes = _envelope(data)
    most = ITERATIONS if schemes[:1] == [_PBES2] else _OLD_ITERATIONS
    if numbers and numbers[0] > most:
        raise KeyRefused(f"is encrypted with {numbers[0]} iterations; at most {most} are computed: use fewer")
    if any(number > _KEY_SIZE for number in numbers[1:]) or any(size > _SALT_BYTES for size in salts[:-1]):
        raise KeyRefused("is encrypted in a form that is not read; use OpenSSH's, `ssh-keygen -p -f KEY`")


def _envelope(data: bytes) -> tuple[list[int], list[int], list[bytes]]:
    """Integers, sizes of octet strings, and object identifiers of a small DER structure, in order."""
    numbers: list[int] = []
    octets: list[int] = []
    names: list[bytes] = []
    waiting = [(data, 0)]
    nodes = 0
    while waiting:
        rest, depth = waiting.pop()
        tag, content, rest = _element(rest)
        nodes += 1
        if nodes > _NODES or depth > _DEPTH:
            raise KeyRefused("cannot be read: its encryption is described at too great a length")
        if rest:
            waiting.append((rest, depth))
        if tag == _SEQUENCE and content:
            waiting.append((content, depth + 1))
        elif tag == _INTEGER:
            numbers.append(int.from_bytes(content) if len(content) <= 8 else 1 << 64)  # noqa: PLR2004  64 bits
        elif tag == _OCTETS:
            octets.append(len(content))
        elif tag == _OID:
            names.append(content)
        elif tag not in {_SEQUENCE, _NULL}:
            raise KeyRefused("is encrypted in a form that is not read; use OpenSSH's, `ssh-keygen -p -f KEY`")
    return numbers, octets, names


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the DER element that starts here, and what follows it."""
    if len(data) < 2:  # noqa: PLR2004  tag and length
        raise KeyRefused("cannot be read: it is cut off")
    size, at = data[1], 2
    if size & 0x80:
        at += size & 0x7F
        if not 2 < at <= 4:  # noqa: PLR2004  lengths of one or two bytes: KEY_BYTES are no more
            raise KeyRefused("cannot be read: it is not DER")
        size = int.from_bytes(data[2:at])
    if at + size > len(data):
        raise KeyRefused("cannot be read: it is cut off")
    return data[0], data[at : at + size], data[at + size :]


def check_rsa(numbers: tuple[int, int, int, int, int, int, int, int], bounds: KeyBounds) -> None:
    """Check an RSA key's numbers (n, e, d, p, q, d mod p-1, d mod q-1, q⁻¹ mod p) as far as that is cheap.

    Whether p and q are primes is not checked: for large ones it takes minutes, and a key with others signs nothing
    that a server accepts. Numbers that do not belong together would make each signature four times as expensive.

    Raises:
        KeyRefused: It is too large, or they do not belong together.
    """
    n, e, d, p, q, dp, dq, qi = numbers
    if n.bit_length() > bounds.bits:
        raise KeyRefused(
            f"is an RSA key of {n.bit_length()} bits; at most {bounds.bits} are used (git.sshKeyBits): "
            "use a key of the type ed25519"
        )
    fits = (
        min(p, q, e) > 1
        and p * q == n
        and e.bit_length() <= 64  # noqa: PLR2004  OpenSSL allows no larger one
        and 0 < d < n
        and 0 < dp < p
        and 0 < dq < q
        and 0 < qi < p
        and e * dp % (p - 1) == 1
        and e * dq % (q - 1) == 1
        and q * qi % p == 1
    )
    if not fits:
        raise KeyRefused("is an RSA key whose numbers do not belong together; make another one")

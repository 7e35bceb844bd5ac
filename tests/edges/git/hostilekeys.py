"""Private keys for SSH whose reading would be expensive: large known primes, rounds without end."""

import base64

import asyncssh
from cryptography.hazmat.primitives.asymmetric import rsa

# Two Mersenne primes: a key of 19,630 bits that anybody can make without searching for primes.
P, Q = 2**9689 - 1, 2**9941 - 1


def der(tag, *parts):
    body = b"".join(parts)
    size = len(body).to_bytes(2, "big")
    return bytes([tag]) + (b"\x82" + size if len(body) > 127 else size[1:]) + body


def integer(value):
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pem(label, data):
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}PRIVATE KEY-----\n{text}-----END {label}PRIVATE KEY-----\n"


def rsa_pem(p, q, *, e=65537, dp=None, qi=None):
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = (0, p * q, e, d, p, q, dp or d % (p - 1), d % (q - 1), qi or pow(q, -1, p))
    return pem("RSA ", der(0x30, *map(integer, numbers)))


def small_primes():
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return numbers.p, numbers.q


def openssh(rounds):
    """An encrypted key whose envelope asks for so many rounds."""
    text = lambda data: len(data).to_bytes(4, "big") + data  # noqa: E731  three words in one place
    options = text(text(b"s" * 16) + rounds.to_bytes(4, "big"))
    public = text(asyncssh.generate_private_key("ssh-ed25519").public_data)
    return pem(
        "OPENSSH ",
        b"openssh-key-v1\0" + text(b"aes256-ctr") + text(b"bcrypt") + options + b"\0\0\0\1" + public + text(b"x" * 160),
    )


def pbes2(iterations, *, size=32, salt=8):
    """An encrypted PKCS#8 key whose envelope asks for so many iterations."""
    oid = lambda text: der(6, bytes.fromhex(text))  # noqa: E731
    kdf = der(
        0x30,
        oid("2a864886f70d01050c"),
        der(
            0x30,
            der(4, b"s" * salt),
            integer(iterations),
            integer(size),
            der(0x30, oid("2a864886f70d0209"), der(5)),
        ),
    )
    cipher = der(0x30, oid("60864801650304012a"), der(4, b"i" * 16))
    scheme = der(0x30, oid("2a864886f70d01050d"), der(0x30, kdf, cipher))
    return pem("ENCRYPTED ", der(0x30, scheme, der(4, b"x" * 160)))

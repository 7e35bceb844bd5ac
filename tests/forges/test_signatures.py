"""Verification: published vectors, each type's good and bad requests, rotation, time."""

import base64
import time
from urllib.parse import unquote_to_bytes

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.rules.proofs import Scheme, Signature, form_payload
from git_events_runner.rules.signatures import KeysRefused, keys_of, reader_verifier, short_keys, verify_signature
from tests.forges import deliveries as d

TYPES = ["header", "github", "gitlab", "gitea", "bitbucket", "azure", "standard-webhooks", "hmac"]
GOOD = {
    "header": (d.plain, d.SECRET),
    "github": (d.github, d.SECRET),
    "github, as a form": (lambda **more: d.github(form=True, **more), d.SECRET),
    "gitea": (d.gitea, d.SECRET),
    "gitea, as a form": (lambda **more: d.gitea(form=True, **more), d.SECRET),
    "gitea, from Forgejo": (lambda **more: d.gitea(name="Forgejo", **more), d.SECRET),
    "gitlab": (d.gitlab, d.SECRET),
    "gitlab, signed": (lambda **more: d.gitlab(signed=more.get("secret", d.SIGNING)), d.SIGNING),
    "bitbucket": (d.bitbucket_cloud, d.SECRET),
    "bitbucket, Data Center": (d.bitbucket_server, d.SECRET),
    "azure": (d.azure, "bob:pass word"),
    "azure, by the password": (d.azure, "pass word"),
    "standard-webhooks": (d.standard, d.SIGNING),
    "hmac": (d.plain_hmac, d.SECRET),
}
PROOFS = {
    "header": "x-trigger-auth",
    "github": "x-hub-signature-256",
    "gitea": "x-gitea-signature",
    "gitlab": "x-gitlab-token",
    "bitbucket": "x-hub-signature",
    "azure": "authorization",
    "standard-webhooks": "webhook-signature",
    "hmac": "x-signature",
}


def headers_of(found):
    """Headers as the server passes them on."""
    return {name.lower(): [value.encode("latin-1")] for name, value in found.items()}


def scheme(name, **more):
    kind = name.split(",")[0]
    return Scheme(type=kind, header="x-signature" if kind == "hmac" else "x-trigger-auth", **more)


def judged(name, found, key, *, now_s=None, **more):
    headers, body = found
    keys = keys_of(key if isinstance(key, bytes) else key.encode())
    return verify_signature(
        scheme(name, **more), headers_of(headers), body, keys, now_s=time.time() if now_s is None else now_s
    )


def test_githubs_published_vector_is_good():
    """The example of its documentation, also without the old SHA-1 header."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    found = ({"X-Hub-Signature-256": signature}, b"Hello, World!")
    assert judged("github", found, "It's a Secret to Everybody") is Signature.GOOD
    sha1 = ({"X-Hub-Signature": f"sha1={d.digest(d.SECRET, b'x', 'sha1')}"}, b"x")
    assert judged("github", sha1, d.SECRET) is Signature.MISSING


def test_bitbuckets_published_vector_is_good():
    """SHA-256 under the old name."""
    signature = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    found = ({"X-Hub-Signature": signature}, b"Hello World!")
    assert judged("bitbucket", found, "It's a Secret to Everybody") is Signature.GOOD


def test_bitbucket_data_center_may_send_a_user_instead_of_a_signature():
    """Only with a key that is user and password, and never past a signature that is there."""
    signed, body = d.bitbucket_server()
    unsigned = {name: value for name, value in signed.items() if name != "X-Hub-Signature"}

    def basic(text):
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    keys = f"events:pass:word\n{d.SECRET}"
    assert judged("bitbucket", (unsigned | basic("events:pass:word"), body), keys) is Signature.GOOD
    assert judged("bitbucket", (signed, body), keys) is Signature.GOOD
    for shown in ("events:other", "pass:word", ":pass:word", d.SECRET, f"events:{d.SECRET}", ""):
        assert judged("bitbucket", (unsigned | basic(shown), body), keys) is Signature.WRONG
    assert judged("bitbucket", (unsigned | basic(f"x:{d.SECRET}"), body), d.SECRET) is Signature.MISSING
    assert judged("bitbucket", (unsigned | basic("events:pass:word"), body), "") is Signature.UNUSABLE
    wrong = {"X-Hub-Signature": "sha256=" + "0" * 64}
    assert judged("bitbucket", (unsigned | wrong | basic("events:pass:word"), body), keys) is Signature.WRONG
    empty = {"X-Hub-Signature": ""}
    assert judged("bitbucket", (unsigned | empty | basic("events:pass:word"), body), keys) is Signature.MISSING


@pytest.mark.parametrize("name", ["standard-webhooks", "gitlab"])
def test_the_vector_of_standard_webhooks_is_good_and_its_negative_is_not(name):
    """From the libraries' tests; GitLab's signed webhooks are the same."""
    key, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": str(at)}
    for tail, expected in (("J1OE=", Signature.GOOD), ("J1OA=", Signature.WRONG)):
        headers["webhook-signature"] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOL" + tail
        assert judged(name, (headers, b'{"test": 2432232314}'), key, now_s=at) is expected


@pytest.mark.parametrize("name", GOOD)
def test_what_a_forge_signs_is_good_and_a_changed_body_or_key_is_not(name):
    """Each type: its own request passes, another key, and where it signs another body, do not."""
    make, key = GOOD[name]
    headers, body = make()
    assert judged(name, (headers, body), key) is Signature.GOOD
    other = "whsec_" + base64.b64encode(b"x" * 24).decode() if key == d.SIGNING else "another:secret of the house"
    assert judged(name, (headers, body), other) is Signature.WRONG
    if scheme(name).type not in {"header", "azure"} and name != "gitlab":
        changed = body.replace(b"a", b"b") or b"b"
        assert judged(name, (headers, changed), key) is Signature.WRONG


@pytest.mark.parametrize("name", GOOD)
def test_two_keys_hold_while_one_is_changed_for_the_other(name):
    """One key a line, in either order, with whatever line ends."""
    make, key = GOOD[name]
    other = "whsec_" + base64.b64encode(b"x" * 24).decode() if key == d.SIGNING else "another:secret of the house"
    for value in (f"{other}\n{key}", f"{key}\r\n{other}\r\n"):
        assert judged(name, make(), value) is Signature.GOOD


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Signature.MISSING),
        ([b""], Signature.MISSING),
        ([b"x"], Signature.WRONG),
        ([b"sha256="], Signature.WRONG),
        ([b"sha256=" + b"0" * 64], Signature.WRONG),
        ([b"\xff\xfe"], Signature.WRONG),
        ([b"v1,"], Signature.WRONG),
        ([b"v1a,AAAA"], Signature.WRONG),
        ([b"Basic ="], Signature.WRONG),
        ([b"x", b"x"], Signature.WRONG),
    ],
)
def test_a_missing_or_empty_proof_is_missing_and_any_other_is_wrong(name, values, expected):
    """Short, mangled, given twice: wrong, never an error."""
    headers = {PROOFS[name]: values, "webhook-id": [b"m"], "webhook-timestamp": [str(int(time.time())).encode()]}
    key = d.SIGNING if name == "standard-webhooks" else d.SECRET
    assert verify_signature(scheme(name), headers, b"x", keys_of(key.encode()), now_s=time.time()) is expected


def test_a_good_proof_given_twice_is_wrong():
    """Nobody knows which of them a proxy would have taken."""
    headers, body = d.github()
    twice = headers_of(headers)
    twice["x-hub-signature-256"] *= 2
    assert verify_signature(scheme("github"), twice, body, (d.SECRET.encode(),), now_s=0) is Signature.WRONG


def test_where_a_signing_token_is_configured_gitlabs_plain_token_is_not_enough():
    """No fall-back: the token is refused, a signature passes, with and without the token beside it."""
    both = f"{d.SIGNING}\n{d.SECRET}"
    assert judged("gitlab", d.gitlab(), both) is Signature.MISSING
    headers, body = d.gitlab(signed=d.SIGNING)
    assert judged("gitlab", (headers, body), both) is Signature.GOOD
    assert judged("gitlab", (headers | {"X-Gitlab-Token": "wrong"}, body), both) is Signature.GOOD


def test_no_secret_is_read_for_a_request_without_a_proof():
    """Without keys a missing proof is told from one that has to be judged."""
    assert verify_signature(scheme("gitlab"), {}, b"", (), now_s=0) is Signature.MISSING
    signed = headers_of(d.gitlab(signed=d.SIGNING)[0])
    assert verify_signature(scheme("gitlab"), signed, b"", (), now_s=0) is Signature.UNUSABLE


@pytest.mark.parametrize(
    ("offset_s", "expected"), [(0, "GOOD"), (-290, "GOOD"), (290, "GOOD"), (-360, "OLD"), (360, "OLD")]
)
def test_signed_times_hold_five_minutes_both_ways(offset_s, expected):
    """An older or later one is refused, however good its signature."""
    now = time.time()
    assert judged("standard-webhooks", d.standard(at=now + offset_s), d.SIGNING, now_s=now).name == expected


def test_ed25519_signatures_of_standard_webhooks_are_verified():
    """`v1a` with a public key, also among signatures that do not fit."""
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    body, now = b"{}", int(time.time())
    shown = base64.b64encode(private.sign(f"msg.{now}.".encode() + body)).decode()
    headers = {"webhook-id": "msg", "webhook-timestamp": str(now), "webhook-signature": f"v1,AAAA v1a,{shown} v2,x"}
    key = "whpk_" + base64.b64encode(raw).decode()
    assert judged("standard-webhooks", (headers, body), key) is Signature.GOOD
    assert judged("standard-webhooks", (headers, b"{} "), key) is Signature.WRONG


def test_an_hmac_may_have_another_header_and_algorithm():
    """SHA-512, and bare hexadecimal digits as Gogs sends them; another algorithm's prefix is wrong."""
    found = d.plain_hmac(algorithm="sha512")
    assert judged("hmac", found, d.SECRET, algorithm="sha512") is Signature.GOOD
    assert judged("hmac", found, d.SECRET) is Signature.WRONG
    bare = ({"X-Signature": d.digest(d.SECRET, b"x").upper()}, b"x")
    assert judged("hmac", bare, d.SECRET) is Signature.GOOD


@pytest.mark.parametrize("name", TYPES)
def test_an_empty_secret_lets_nobody_in(name):
    """A Secret whose value is empty, or no key of that type, is unusable."""
    make = {kind.split(",")[0]: found[0] for kind, found in GOOD.items() if kind in TYPES}[name]
    for value in ("", "\n\r\n", "  \n\t\r\n") + (("whsec_", "whsec_!") if name == "standard-webhooks" else ()):
        assert judged(name, make(), value) is Signature.UNUSABLE


@pytest.mark.parametrize("name", TYPES)
def test_a_blank_line_between_keys_lets_nobody_in(name):
    """White space below a key, as an indented manifest leaves it, is no second key that everybody could guess."""
    make = {kind.split(",")[0]: found[0] for kind, found in GOOD.items() if kind in TYPES}[name]
    key = d.SIGNING if name == "standard-webhooks" else d.SECRET
    assert keys_of(f"{key}\n  \n\t\n".encode()) == keys_of(key.encode())
    assert judged(name, make(), f"{key}\n  \n") is judged(name, make(), key)


def test_short_keys_are_told():
    """Fewer than 16 bytes; of a signing token its decoded bytes count."""
    assert not short_keys(keys_of(b"0123456789abcdef\n"))
    assert short_keys(keys_of(b"0123456789abcdef\nshort"))
    assert not short_keys((d.SIGNING.encode(),))
    assert short_keys((b"whsec_" + base64.b64encode(b"x" * 15),))


@pytest.mark.parametrize("name", ["github", "gitlab", "gitea", "bitbucket", "standard-webhooks", "hmac", "header"])
def test_who_asks_for_a_task_shows_the_secret(name):
    """A GET has no body to sign: the secret itself stands in the default header."""
    keys = keys_of(b"one secret of the house\nanother")
    for value, expected in ((b"another", "GOOD"), (b"third", "WRONG"), (b"", "MISSING")):
        found = reader_verifier(scheme(name), {"x-trigger-auth": [value]}, keys, default_header="x-trigger-auth")
        assert found.name == expected


def test_a_public_key_is_no_secret_to_show():
    """Who knows the key that signatures are checked with may not ask for tasks."""
    keys = (b"whpk_" + base64.b64encode(bytes(32)), d.SIGNING.encode())
    for known, value, expected in ((keys, keys[0], "WRONG"), (keys[:1], keys[0], "WRONG"), (keys, keys[1], "GOOD")):
        found = reader_verifier(scheme("standard-webhooks"), {"x-token": [value]}, known, default_header="x-token")
        assert found.name == expected


@given(st.lists(st.sampled_from([b"%", b"%2", b"5", b"41", b"%aF", b"+", b"&", b"=", b"\xff", b"payload="])))
def test_a_form_is_read_as_urllib_reads_it(parts):
    """The first field of the name, its escapes and pluses; whatever is no escape stays."""
    body = b"".join(parts)
    fields = [field.partition(b"=") for field in body.split(b"&")]
    wanted = [
        unquote_to_bytes(value.replace(b"+", b" ")) for name, found, value in fields if found and name == b"payload"
    ]
    assert form_payload(body) == (wanted[0] if wanted else None)


@given(
    st.sampled_from(TYPES),
    st.dictionaries(
        st.sampled_from([*list(PROOFS.values()), "content-type", "webhook-id"]),
        st.lists(st.binary(max_size=80), max_size=3),
    ),
    st.binary(max_size=200),
    st.binary(max_size=80),
)
def test_no_request_and_no_secret_makes_an_error(name, headers, body, value):
    """Whatever the bytes are, there is a judgement; and nothing random is good."""
    found = verify_signature(scheme(name), headers, body, keys_of(value), now_s=0.0)
    assert found is not Signature.GOOD or name in {"header", "gitlab", "azure"}
    form_payload(body)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"\n".join(b"key %d" % number for number in range(9)), "has 9 keys"),
        (b"\n".join(b"key %d" % number for number in range(30_000)), "has 288889 bytes"),
        (b"k" * 1025, "has a key of more than 1024 bytes"),
        (b"k" * 2**20, "has 1048576 bytes"),
    ],
    ids=["nine", "thousands", "long", "huge"],
)
def test_too_many_keys_are_refused_before_one_is_tried(value, problem):
    """A Secret with more than eight keys, or one over 1 KiB, is refused in words that name the remedy."""
    with pytest.raises(KeysRefused, match=f"{problem}; at most 8 keys of 1024 bytes are tried"):
        keys_of(value)


def test_eight_keys_of_a_kibibyte_are_tried():
    """The most that is allowed is read whole, with line ends of either kind."""
    keys = tuple(b"%d" % number * 1024 for number in range(8))
    assert keys_of(b"\r\n".join(keys) + b"\r\n") == keys
    assert keys_of(b"\n" * 100 + keys[0]) == keys[:1]

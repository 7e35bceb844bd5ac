"""The protocol's parsers, without a socket."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_events_runner.edges.git.http.repeated import LastResponse, RepeatedResponse
from git_events_runner.edges.git.pktline import Marker, PacketReader, packet
from git_events_runner.edges.git.protocol import (
    Advertisement,
    Capabilities,
    FetchAnswer,
    LsRefs,
    RemoteRef,
    fetch_request,
    ls_refs_request,
)
from git_events_runner.edges.git.request import Credential, Reference, Repository
from git_events_runner.errors import (
    GitError,
    GitNotFound,
    GitProtocolError,
    GitReferenceNotFound,
    GitTooLarge,
    SecretUnusable,
)

A, B = "a" * 40, "b" * 40
V2 = Capabilities(version=2, features=frozenset({"shallow", "filter"}))
LIMIT = 1 << 20


def packets(*lines: bytes) -> bytes:
    return b"".join(line if line in {b"0000", b"0001"} else packet(line) for line in lines)


def fed(parser, data: bytes, size: int = 1 << 16):
    for at in range(0, len(data), size):
        result = parser.feed(data[at : at + size])
        if result is not None:
            list(result)
    return parser


@given(st.lists(st.one_of(st.binary(max_size=50), st.sampled_from(list(Marker)))), st.integers(1, 9))
def test_packets_are_the_same_however_they_are_cut(items, size):
    """A stream of packets parses the same in any chunks."""
    data = b"".join(b"%04x" % item if isinstance(item, Marker) else packet(item) for item in items)
    reader = PacketReader("it", limit_bytes=LIMIT)
    got = [p for at in range(0, len(data), size) for p in reader.feed(data[at : at + size])]
    reader.finish()
    assert got == items


@pytest.mark.parametrize(
    "data",
    [b"<html>", b"zzzz", b"-001", b"+00a", b" 00a", b"0003", b"fff1" + b"x" * 70000, b"\0\0\0\0", b"\xff\xfe\xfd\xfc"],
)
def test_what_is_no_packet_is_refused(data):
    """Text, impossible lengths and binary rubbish raise GitProtocolError at once."""
    with pytest.raises(GitProtocolError):
        list(PacketReader("it", limit_bytes=LIMIT).feed(data))


def test_a_cut_packet_is_refused_at_the_end():
    """Half a packet is an error when the stream ends, not before."""
    reader = PacketReader("it", limit_bytes=LIMIT)
    assert list(reader.feed(b"0009do")) == []
    with pytest.raises(GitProtocolError, match="cut off"):
        reader.finish()


def test_the_byte_cap_holds():
    """More bytes than the cap raise GitTooLarge."""
    with pytest.raises(GitTooLarge):
        list(PacketReader("it", limit_bytes=10).feed(packet(b"0123456789")))


@pytest.mark.parametrize("service", [b"", packets(b"# service=git-upload-pack\n", b"0000")])
def test_v2_advertisement(service):
    """Version, object format and the features of fetch are read, with and without the service line."""
    lines = (b"version 2\n", b"ls-refs=unborn\n", b"fetch=shallow filter\n", b"object-format=sha256\n", b"0000")
    found = fed(Advertisement((), limit_bytes=LIMIT), service + packets(*lines), 3).finish()
    offered = frozenset({"ls-refs", "fetch", "object-format"})
    features = frozenset({"shallow", "filter"})
    assert found == Capabilities(version=2, object_format="sha256", features=features, offered=offered)


def test_repositories_whose_servers_can_do_the_same_share_what_is_known():
    """What a server can do, and the request for one name, are held once for thousands; long lists of words are not."""

    def learn(word: bytes) -> Capabilities:
        lines = (b"version 2\n", b"fetch=shallow " + word + b"\n", b"0000")
        return fed(Advertisement((), limit_bytes=LIMIT), packets(*lines)).finish()

    first = learn(b"filter")
    assert learn(b"filter") is first
    assert learn(b"x" * 2000) is not learn(b"x" * 2000)
    one, other = (LastResponse(["refs/heads/main"], first, LIMIT) for _ in range(2))
    assert one.request is other.request
    assert one.request == ls_refs_request(first, ["refs/heads/main"])
    assert LastResponse(["refs/heads/a"], first, LIMIT).request == ls_refs_request(first, ["refs/heads/a"])


@pytest.mark.parametrize("version", [0, 1])
def test_older_advertisements_give_the_wanted_references(version):
    """v0 and v1 servers list references; the wanted ones are kept with what annotated tags point to."""
    first = (b"version 1\n",) if version else ()
    data = packets(
        *first,
        f"{A} HEAD\0shallow filter side-band-64k object-format=sha1\n".encode(),
        f"{A} refs/heads/main\n".encode(),
        f"{B} refs/heads/main-2\n".encode(),
        f"{B} refs/tags/v1\n".encode(),
        f"{A} refs/tags/v1^{{}}\n".encode(),
        b"0000",
    )
    parser = fed(Advertisement(("refs/heads/main", "refs/tags/v1"), limit_bytes=LIMIT), data)
    assert parser.finish().version == version
    assert parser.refs == {"refs/heads/main": RemoteRef(A), "refs/tags/v1": RemoteRef(B, A)}


def test_ls_refs_matches_names_exactly():
    """A server's prefix match (`main-2` for `main`) never becomes the answer."""
    data = packets(
        f"{B} refs/heads/main-2\n".encode(), f"{A} refs/tags/v peeled:{B}\n".encode(), b"unborn HEAD\n", b"0000"
    )
    parser = fed(LsRefs(("refs/heads/main", "refs/tags/v"), limit_bytes=LIMIT), data)
    assert parser.finish() == {"refs/tags/v": RemoteRef(A, B)}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"ERR access denied", GitError),
        (b"ERR Repository not found.", GitNotFound),
        (b"ERR upload-pack: not our ref " + A.encode(), GitReferenceNotFound),
        (b"rubbish", GitProtocolError),
        (b"zz refs/heads/main", GitProtocolError),
        (A.encode() + b" refs/heads/main peeled:zz", GitProtocolError),
    ],
)
def test_strange_ls_refs_lines(line, error):
    """Errors of the server and broken lines have their own exceptions."""
    with pytest.raises(error):
        fed(LsRefs(("refs/heads/main",), limit_bytes=LIMIT), packets(line, b"0000"))


def test_server_text_is_shown_without_control_characters():
    """What a server says cannot colour a terminal or forge a log line."""
    with pytest.raises(GitProtocolError) as caught:
        fed(LsRefs((), limit_bytes=LIMIT), packets(b"ERR \x1b[31mred\nforged line" + b"x" * 999))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_unfinished_list_is_refused():
    """An answer without its end is an error, never "no such branch"."""
    with pytest.raises(GitProtocolError, match="cut off"):
        fed(LsRefs((), limit_bytes=LIMIT), packets(f"{A} refs/heads/x".encode())).finish()


def test_fetch_answers_give_the_pack():
    """The bytes of side-band 1 are the pack, in both forms of the protocol."""
    band = (b"\2progress", b"\1PACK", b"\1more", b"0000")
    old = Capabilities(version=0, features=frozenset({"side-band-64k"}))
    v2_head = (b"shallow-info", b"shallow " + A.encode(), b"0001", b"packfile")
    for capabilities, head in ((V2, v2_head), (old, (b"shallow " + A.encode(), b"0000", b"NAK\n"))):
        answer = FetchAnswer(capabilities, limit_bytes=LIMIT)
        assert b"".join(answer.feed(packets(*head, *band))) == b"PACKmore"
        answer.finish()


def test_side_band_3_is_an_error():
    """The server's last words raise."""
    with pytest.raises(GitProtocolError, match="dying"):
        fed(FetchAnswer(V2, limit_bytes=LIMIT), packets(b"packfile", b"\3dying"))


@settings(max_examples=300)
@given(st.data())
def test_no_bytes_make_a_parser_fail_otherwise(data):
    """Any bytes, also wrapped into packets, end in a result or a GitError."""
    chunk = st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(packet), st.sampled_from([b"0000", b"0001"]))
    chunks = data.draw(st.lists(chunk, max_size=6))
    known = data.draw(st.sampled_from([b"", packet(b"version 2"), packet(b"packfile"), packet(A.encode() + b" x\0y")]))
    makers = (
        lambda: Advertisement(("x",), limit_bytes=LIMIT),
        lambda: LsRefs(("x",), limit_bytes=LIMIT),
        lambda: FetchAnswer(V2, limit_bytes=LIMIT),
    )
    for make in makers:
        with contextlib.suppress(GitError):
            parser = make()
            for each in (known, *chunks):
                fed(parser, each)
            parser.finish()


def test_requests_are_small_and_exact():
    """An ls-refs names the one reference; a fetch asks for one commit without blobs."""
    body = ls_refs_request(V2, ("refs/heads/main",))
    assert b"ref-prefix refs/heads/main" in body
    assert len(body) < 130
    assert b"filter blob:none" in fetch_request(V2, A, blobless=True)
    assert b"filter" not in fetch_request(V2, A, blobless=False)
    assert b"deepen 1" in fetch_request(V2, A, blobless=False)
    for version in (0, 2):
        bare = Capabilities(version=version, features=frozenset({"side-band-64k"}))
        assert not any(word in fetch_request(bare, A, blobless=True) for word in (b"deepen", b"filter", b"shallow"))


@pytest.mark.parametrize(
    "name", ["", "a..b", "-\x00", "a b", "a~1", "/a", "a/", "x.lock", "a//b", ".a", "@{", "a" * 2000, "a\n"]
)
def test_impossible_names_are_never_sent(name):
    """Names that git-check-ref-format refuses are not found without asking anyone."""
    with pytest.raises(GitReferenceNotFound):
        _ = Reference("branch", name).full_name


def test_full_names_are_taken_verbatim():
    """`refs/pull/7/head` is asked as it stands; other names by their type."""
    assert Reference("branch", "refs/pull/7/head").full_name == "refs/pull/7/head"
    assert Reference("tag", "v1").full_name == "refs/tags/v1"


@pytest.mark.parametrize("name", ["abc1234", "g" * 40, "a" * 41, ""])
def test_abbreviated_commits_are_refused(name):
    """Only a whole object id is a commit."""
    with pytest.raises(GitReferenceNotFound, match="full commit id"):
        _ = Reference("commit", name).commit


def test_credentials_never_show():
    """Neither the credential nor the repository shows a secret; the key is the same for the same input only."""
    credential = Credential.basic("me", "pässword")
    repository = Repository(url="https://user:word@host/x.git", credential=credential)
    shown = f"{credential!r} {repository!s} {credential}"
    assert "word" not in shown.replace("Password", "")
    assert repository.key == Repository(url="https://user:word@host/x.git/", credential=credential).key
    assert repository.key != Repository(url="https://user:word@host/x.git").key
    assert Repository(url="https://h/x") != Repository(url="https://h/x", verify=False)


@pytest.mark.parametrize("value", ["", "a\nb", "a\0", "€"])
def test_tokens_that_cannot_be_headers_are_refused(value):
    """A token with a line break inside would be a second header."""
    with pytest.raises(SecretUnusable):
        Credential.token(value)


@settings(max_examples=300)
@given(
    answers=st.lists(st.sampled_from(["main", "none", "cut", "long"]), min_size=1, max_size=8),
    cut=st.integers(min_value=0, max_value=80),
)
def test_an_answer_that_comes_again_means_the_same(answers, cut):
    """Whatever came before and however it is cut, an answer means what a fresh parser says, or fails as it does."""
    name = "refs/heads/main"
    texts = {
        "main": packet(b"a" * 40 + b" refs/heads/main\n") + b"0000",
        "none": b"0000",
        "cut": packet(b"a" * 40 + b" refs/heads/main\n"),
        "long": packet(b"b" * 40 + b" refs/heads/main\n") + packet(b"c" * 40 + b" refs/heads/main2\n") + b"0000",
    }
    last = LastResponse([name], Capabilities(version=2), 1000)

    def outcome(parser, feed, data):
        try:
            for part in (data[:cut], data[cut:]):
                if part:
                    feed(part)
            return dict(parser.finish())
        except GitError as error:
            return type(error)

    for answer in answers:
        taker, fresh = RepeatedResponse(last), LsRefs([name], limit_bytes=1000)
        assert outcome(taker, taker.feed, texts[answer]) == outcome(fresh, fresh.feed, texts[answer])

"""The conversation of a git fetch without sockets: bytes to send, and parsers to feed with what came back.

Sources: gitprotocol-v2 (capability advertisement, ls-refs, fetch), gitprotocol-pack (v0 and v1: reference discovery,
want lines) and gitprotocol-http (the "# service" line) of git's Documentation/technical.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from git_events_runner.errors import (
    GitCutOff,
    GitError,
    GitFilterRefused,
    GitForbidden,
    GitNotFound,
    GitProtocolError,
    GitReferenceNotFound,
    GitTooManyReferences,
)

from .pktline import Marker, Packet, PacketReader, packet
from .request import is_object_id, shown
from .shape import ONE_COMMIT, FetchShape

AGENT = b"agent=git/git-events-runner"
FLUSH, DELIM = b"0000", b"0001"
_PEELED = "^{}"
_V2 = 2
_LEAST_WORDS = 2
_SHARED_CHARS = 1024
BELOW = "*"  # at the end of a wanted name: all that begin like this; git allows the character in no name
MOST_REFERENCES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server can do: `features` are the words of v2's fetch command, or of v0's capability list.

    `offered` are the names of all capabilities: git before 2.28 ends at any that it did not advertise.
    """

    version: int
    object_format: str = "sha1"
    features: frozenset[str] = frozenset()
    offered: frozenset[str] = frozenset()

    @property
    def shallow(self) -> bool:
        """Whether a fetch may be limited to one commit."""
        return "shallow" in self.features

    @property
    def filter(self) -> bool:
        """Whether a fetch may leave out the blobs."""
        return "filter" in self.features

    @property
    def is_short(self) -> bool:
        """Whether one value may be kept for all servers that can do the same; an odd server may list megabytes."""
        return sum(map(len, (*self.features, *self.offered))) <= _SHARED_CHARS


@lru_cache(maxsize=64)
def _known_equal(capabilities: Capabilities) -> Capabilities:
    """One value for all repositories whose servers can do the same: it takes 2 KB, and thousands are remembered."""
    return capabilities


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """The object a reference names; `peeled` is what an annotated tag points to in the end."""

    object_id: str
    peeled: str | None = None


def _text(payload: bytes) -> str:
    return payload.rstrip(b"\n").decode("utf-8", "surrogateescape")


def _object_id(text: str, what: str) -> str:
    if not is_object_id(text):
        raise GitProtocolError(f"{what} holds {shown(text)!r} where an object id belongs")
    return text


def server_error(text: str) -> GitError:
    """The error for an ERR packet or side-band 3."""
    lowered = text.lower()
    message = f"the git server reports: {shown(text.strip())}"
    if "not our ref" in lowered or "unadvertised object" in lowered:
        return GitReferenceNotFound(message)
    if "not found" in lowered or "does not exist" in lowered:
        return GitNotFound(message)
    if "access denied" in lowered or "not permitted" in lowered or "permission" in lowered:
        return GitForbidden(message)
    if "filter" in lowered and "not supported" in lowered:
        return GitFilterRefused(message)
    return GitProtocolError(message)


class _Wanted:
    """Names of references, and beginnings of names (with `*` after them); counts what is kept.

    >>> wanted = _Wanted(["HEAD", "refs/tags/v*"])
    >>> "HEAD" in wanted, "refs/tags/v1" in wanted, "refs/heads/v1" in wanted
    (True, True, False)
    """

    __slots__ = ("_names", "_prefixes")

    def __init__(self, names: Collection[str]) -> None:
        self._prefixes = tuple(name[:-1] for name in names if name.endswith(BELOW))
        self._names = frozenset(names)

    def __contains__(self, name: str) -> bool:
        return name in self._names or name.startswith(self._prefixes)

    @staticmethod
    def check(kept: Mapping[str, object]) -> None:
        """Raise GitTooManyReferences when there is no room for one more."""
        if len(kept) >= MOST_REFERENCES:
            raise GitTooManyReferences(
                f"the repository has more than {MOST_REFERENCES:,} references that begin like the watched ones; narrow "
                "the patterns of watchOn.references"
            )


class Advertisement:
    """Parser of `info/refs`: capabilities in any version, and in v0 and v1 those of the wanted references it holds."""

    def __init__(self, wanted: Collection[str], *, limit_bytes: int) -> None:
        self.refs: dict[str, RemoteRef] = {}
        self._wanted = _Wanted(wanted)
        self._reader = PacketReader("the server's advertisement", limit_bytes=limit_bytes)
        self._version: int | None = None
        self._service_line = self._service_flush = False
        self._ended = False
        self._format = "sha1"
        self._features: set[str] = set()
        self._offered: set[str] = set()

    @property
    def ended(self) -> bool:
        """Whether the last packet was received: over SSH, the stream stays open after it."""
        return self._ended

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer.

        Raises:
            GitProtocolError: They are not an advertisement.
            GitTooLarge: There are too many of them.
        """
        for item in self._reader.feed(data):
            self._feed_one(item)

    def finish(self) -> Capabilities:
        """The stream has ended: what the server can do.

        Raises:
            GitCutOff: It was cut off, or empty.
        """
        self._reader.finish()
        if self._version is None or not self._ended:
            raise GitCutOff("the server's advertisement was cut off")
        found = Capabilities(
            version=self._version,
            object_format=self._format,
            features=frozenset(self._features),
            offered=frozenset(self._offered),
        )
        return _known_equal(found) if found.is_short else found

    def _feed_one(self, item: Packet) -> None:
        if self._ended:
            raise GitProtocolError("the server's advertisement continues after its end")
        if isinstance(item, Marker):
            # The "# service" line has a flush of its own; any other ends the advertisement. Nothing between: no
            # references.
            if self._service_line and not self._service_flush:
                self._service_flush = True
                return
            self._version = self._version or 0
            self._ended = True
            return
        line = _text(item)
        if line.startswith("ERR "):
            raise server_error(line[4:])
        if self._version is None:
            if line.startswith("# service=") and not self._service_line:
                self._service_line = True
                return
            if line in {"version 1", "version 2"}:
                self._version = int(line[-1])
                return
            self._version = 0
        if self._version == _V2:
            self._add_capability(line)
        else:
            self._add_ref(line)

    def _add_capability(self, line: str) -> None:
        name, _, value = line.partition("=")
        self._offered.add(name)
        if name == "object-format":
            self._format = value
        elif name == "fetch":
            self._features.update(value.split())

    def _add_ref(self, line: str) -> None:
        line, nul, words = line.partition("\0")
        if nul:
            self._features.update(words.split())
            self._offered.update(word.partition("=")[0] for word in words.split())
            self._format = next((w[14:] for w in words.split() if w.startswith("object-format=")), "sha1")
        object_id, space, name = line.partition(" ")
        if object_id == "shallow":
            return
        _object_id(object_id, "the server's advertisement")
        if not space or not name:
            raise GitProtocolError("the server's advertisement holds a line without a reference name")
        if name.endswith(_PEELED):
            if name[:-3] in self.refs:
                self.refs[name[:-3]] = RemoteRef(self.refs[name[:-3]].object_id, object_id)
        elif name in self._wanted:
            self._wanted.check(self.refs)
            self.refs[name] = RemoteRef(object_id)


def _client_words(capabilities: Capabilities) -> list[bytes]:
    """Our agent and the object format, if the server advertised them."""
    known = {"agent": AGENT, "object-format": b"object-format=" + capabilities.object_format.encode()}
    return [word for name, word in known.items() if name in capabilities.offered]


def _command(name: bytes, capabilities: Capabilities) -> bytes:
    return packet(b"command=" + name) + b"".join(packet(word) for word in _client_words(capabilities))


def ls_refs_request(capabilities: Capabilities, names: Collection[str]) -> bytes:
    """Body of a v2 ls-refs for these names and beginnings (the server may add others that start like the names)."""
    wanted = (name.removesuffix(BELOW).encode("utf-8", "surrogateescape") for name in names)
    prefixes = b"".join(packet(b"ref-prefix " + name) for name in wanted)
    return _command(b"ls-refs", capabilities) + DELIM + packet(b"peel") + prefixes + FLUSH


class LsRefs:
    """Parser of the answer to v2 ls-refs; keeps the wanted references only."""

    def __init__(self, wanted: Collection[str], *, limit_bytes: int) -> None:
        self.refs: dict[str, RemoteRef] = {}
        self._wanted = _Wanted(wanted)
        self._reader = PacketReader("the list of references", limit_bytes=limit_bytes)
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the last packet was received: over SSH, the stream stays open after it."""
        return self._ended

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer.

        Raises:
            GitProtocolError: They are not a list of references.
            GitTooLarge: There are too many of them.
        """
        for item in self._reader.feed(data):
            if self._ended or item in {Marker.DELIM, Marker.END}:
                raise GitProtocolError("the list of references continues after its end")
            if isinstance(item, Marker):
                self._ended = True
            else:
                self._feed_one(_text(item))

    def _feed_one(self, line: str) -> None:
        if line.startswith("ERR "):
            raise server_error(line[4:])
        words = line.split(" ")
        if len(words) < _LEAST_WORDS or (words[0] != "unborn" and not is_object_id(words[0])):
            raise GitProtocolError(f"the list of references holds the line {shown(line)!r}")
        if words[1] not in self._wanted or words[0] == "unborn":
            return
        self._wanted.check(self.refs)
        peeled = next((word[7:] for word in words[2:] if word.startswith("peeled:")), None)
        self.refs[words[1]] = RemoteRef(words[0], peeled and _object_id(peeled, "the list of references"))

    def finish(self) -> dict[str, RemoteRef]:
        """The stream has ended: the wanted references that exist.

        Raises:
            GitCutOff: It was cut off.
        """
        self._reader.finish()
        if not self._ended:
            raise GitCutOff("the list of references was cut off")
        return self.refs


def fetch_request(capabilities: Capabilities, commit: str, *, blobless: bool, shape: FetchShape = ONE_COMMIT) -> bytes:
    """Body that requests a commit, by default without its history (and without blobs, if wanted and supported)."""
    wants = [b"want " + each.encode() for each in (commit, *shape.also)]
    deepen = packet(b"deepen %d\n" % shape.depth) if shape.depth and capabilities.shallow else b""
    left_out = b"tree:0" if shape.treeless else b"blob:none" if blobless else b""
    leave_out = packet(b"filter %b\n" % left_out) if left_out and capabilities.filter else b""
    if capabilities.version == _V2:
        options = [b"no-progress", b"ofs-delta", *([b"include-tag"] if shape.tags else [])]
        arguments = b"".join(map(packet, (*options, *wants))) + deepen + leave_out + packet(b"done")
        return _command(b"fetch", capabilities) + DELIM + arguments + FLUSH
    useful = [
        "side-band-64k",
        "ofs-delta",
        "no-progress",
        "shallow",
        "filter",
        *(["include-tag"] if shape.tags else []),
    ]
    words = [word.encode() for word in useful if word in capabilities.features] + _client_words(capabilities)
    first, *others = wants
    lines = [b" ".join([first, *words]) + b"\n", *(each + b"\n" for each in others)]
    return b"".join(map(packet, lines)) + deepen + leave_out + FLUSH + packet(b"done\n")


class FetchAnswer:
    """Parser of the answer to a fetch, v2 or v0/v1 with side-band: gives the bytes of the pack."""

    def __init__(self, capabilities: Capabilities, *, limit_bytes: int) -> None:
        self._v2 = capabilities.version == _V2
        self._reader = PacketReader("the pack", limit_bytes=limit_bytes)
        self._in_pack = False
        self._ended = False
        if not self._v2 and "side-band-64k" not in capabilities.features:
            raise GitProtocolError("the git server has no side-band-64k, which every git since 2006 has")

    @property
    def ended(self) -> bool:
        """Whether the last packet was received: over SSH, the stream stays open after it."""
        return self._ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the answer; gives parts of the pack.

        Raises:
            GitReferenceNotFound: The server does not have, or does not give, the commit.
            GitProtocolError: The bytes are not an answer to a fetch.
            GitTooLarge: There are too many of them.
        """
        for item in self._reader.feed(data):
            if self._ended:
                raise GitProtocolError("the pack continues after its end")
            if isinstance(item, Marker):
                self._ended = item is Marker.FLUSH and self._in_pack
            elif self._in_pack or (not self._v2 and item[:1] in {b"\1", b"\2", b"\3"}):
                self._in_pack = True
                yield from self._side_band(item)
            else:
                self._feed_one(_text(item))

    def _feed_one(self, line: str) -> None:
        if line.startswith("ERR "):
            raise server_error(line[4:])
        if self._v2 and line == "packfile":
            self._in_pack = True
        elif line.split(" ", maxsplit=1)[0] not in {
            "shallow-info",
            "shallow",
            "unshallow",
            "acknowledgments",
            "NAK",
            "ACK",
            "ready",
        }:
            raise GitProtocolError(f"the answer to a fetch holds the line {shown(line)!r}")

    @staticmethod
    def _side_band(item: bytes) -> Iterator[bytes]:
        band = item[:1]
        if band == b"\1":
            yield item[1:]
        elif band == b"\3":
            raise server_error(item[1:].decode("utf-8", "replace"))
        elif band != b"\2":
            raise GitProtocolError(f"the pack comes in the unknown side-band {band!r}")

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            GitCutOff: Before the pack did.
        """
        self._reader.finish()
        if not self._ended:
            raise GitCutOff("the pack was cut off")

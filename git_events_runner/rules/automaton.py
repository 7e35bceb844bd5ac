"""All patterns of a list as one automaton over a path's bytes: each byte costs the same for any patterns.

A position in a pattern is a bit of an integer. A byte of the path moves all bits in a few operations on integers (the
Shift-And method of Baeza-Yates and Gonnet): its cost is the length of all patterns by 64, for every pattern and path.
Sets of positions are cached with their successors, up to a size, so usual paths cost one dictionary access per byte.
Nothing backtracks, and the other steps are counted and limited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

STAR = None  # a token: any bytes of a name
SLASH = 0x2F
ANY = (1 << 256) - 1 & ~(1 << SLASH)
_ALL_BYTES = 256
_KEPT_BYTES = 8 * 2**20
_STATE_BYTES, _EDGE_BYTES = 400, 100
_MOVE_STEPS, _STEP_BITS = 16, 512  # an uncached move costs as much as 16 cached ones, plus one per 512 bits
_GROUP = 64

Token = int | None
"""The bytes that it matches, as bits of an integer; or STAR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glob:
    """One pattern: `parts` between slashes, each of tokens, or None for `**`; before them the plain bytes `prefix`.

    `anywhere`: its only part is matched with each name of a path. `folders_only`: it matches folders.
    """

    prefix: bytes
    parts: tuple[tuple[Token, ...] | None, ...]
    anywhere: bool
    folders_only: bool


class TooCostly(Exception):
    """The limit of steps is exceeded."""


@dataclass(slots=True, eq=False)
class State:
    """A set of positions; `file` and `folder`: the last patterns that match the bytes read so far, -1: none does."""

    places: int
    file: int
    folder: int
    following: dict[int, State] = field(default_factory=dict)


class Automaton:
    """A compiled list of patterns, and the steps that it has taken."""

    def __init__(self, globs: Sequence[Glob], *, most_steps: int) -> None:
        self._most_steps = most_steps
        self.steps = 0
        self._size = 0
        self._by_token: dict[int, list[int]] = {}
        stars: list[int] = []
        deep: list[int] = []  # a `**` and its position inside folders
        spans: list[int] = []
        starts: list[int] = []
        names: list[int] = []
        self._pattern_at: dict[int, int] = {}
        files: list[int] = []
        for number, glob in enumerate(globs):
            (names if glob.anywhere else starts).append(self._size)
            self._add(glob, stars, deep, spans)
            self._pattern_at[self._size] = number
            if not glob.folders_only:
                files.append(self._size)
            self._size += 1
        self._ends = _bits(self._pattern_at, self._size)
        self._file_ends = _bits(files, self._size)
        self._spans = _bits(spans, self._size)
        self._deep = _bits(deep, self._size)
        self._stay = _bits(stars, self._size) | self._deep
        self._names = self._closed(_bits(names, self._size))
        self._groups = {token: _bits(at, self._size) for token, at in self._by_token.items() if len(at) > _GROUP}
        self._moves: list[int | None] = [None] * _ALL_BYTES
        self._kept: dict[int, State] = {}
        self._kept_bytes = 0
        self.start = self._state(self._closed(_bits(starts, self._size)) | self._names)

    def _add(self, glob: Glob, stars: list[int], deep: list[int], spans: list[int]) -> None:
        """Assign the positions of a pattern; the one after them is its end."""
        for byte in glob.prefix:
            self._token(1 << byte)
        last = len(glob.parts) - 1
        for number, part in enumerate(glob.parts):
            if part is not None:
                for token in part:
                    if token is STAR:
                        stars.append(self._size)
                    else:
                        self._token(token & ANY)
                if number < last:
                    self._token(1 << SLASH)
            elif number == last:
                deep.append(self._size)  # any rest
            elif glob.parts[number + 1] is not None:
                # At a name's start; inside folders; and, without a byte or after a slash, what follows the `**/`.
                spans.append(self._size)
                self._token(ANY)
                deep.append(self._size)
                self._token(1 << SLASH)

    def _token(self, token: int) -> None:
        self._by_token.setdefault(token, []).append(self._size)
        self._size += 1

    def run(self, state: State, data: bytes) -> State:
        """The state after some bytes.

        Raises:
            TooCostly: The limit of steps is exceeded.
        """
        self.steps += len(data)
        if self.steps > self._most_steps:
            raise TooCostly
        for byte in data:
            found = state.following.get(byte)
            state = self._move(state, byte) if found is None else found
        return state

    def _move(self, state: State, byte: int) -> State:
        self.steps += _MOVE_STEPS + self._size // _STEP_BITS
        if self.steps > self._most_steps:
            raise TooCostly
        places = state.places
        moved = (places & self._moves_of(byte)) << 1
        if byte == SLASH:
            after = places & self._spans
            moved |= (places & self._deep) | after << 1 | after << 2
            found = self._state(self._closed(moved) | self._names)
        else:
            found = self._state(self._closed(moved | places & self._stay))
        if self._kept_bytes < _KEPT_BYTES:
            state.following[byte] = found
            self._kept_bytes += _EDGE_BYTES
        return found

    def _closed(self, places: int) -> int:
        """`**/` also matches zero folders."""
        return places | (places & self._spans) << 2

    def _moves_of(self, byte: int) -> int:
        """The positions from which a byte moves on."""
        moves = self._moves[byte]
        if moves is None:
            single = [
                at
                for token, places in self._by_token.items()
                if token >> byte & 1 and token not in self._groups
                for at in places
            ]
            moves = _bits(single, self._size)
            for token, places in self._groups.items():
                if token >> byte & 1:
                    moves |= places
            self._moves[byte] = moves
            self.steps += len(self._by_token)
        return moves

    def _state(self, places: int) -> State:
        found = self._kept.get(places)
        if found is None:
            found = State(places, self._last(places & self._file_ends), self._last(places & self._ends))
            if self._kept_bytes < _KEPT_BYTES:
                self._kept[places] = found
                self._kept_bytes += _STATE_BYTES + places.bit_length() // 8
        return found

    def _last(self, ends: int) -> int:
        return self._pattern_at[ends.bit_length() - 1] if ends else -1


def _bits(places: Sequence[int] | dict[int, int], size: int) -> int:
    """An integer with these bits."""
    bits = bytearray(size // 8 + 1)
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(bits, "little")

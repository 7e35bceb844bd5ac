"""Series of triggers: what is counted and timed by trigger, found and removed by trigger.

A family keeps one row of numbers for each set of label values, and the rows of a trigger are known by the trigger: its
deletion costs what it has, independent of the others. By default there are buckets for all triggers together only; each
trigger has sums and counts (`Detail`). The numbers change on the event loop; `render` may be called in a thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from git_events_runner.resources.ref import Ref

_PIECE_BYTES = 256 * 1024


class Detail(StrEnum):
    """What `/metrics` has of each trigger."""

    HISTOGRAMS = "histograms"  # as v0.4
    SUMS = "sums"
    LEAN = "lean"  # without the second names that v0.4 gives its counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A metric for the documentation."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedSeries:
    """A counter of a family."""

    name: str
    text: str
    in_v04: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The duration of a family; buckets of all triggers together keep `labels`."""

    name: str
    text: str
    bounds: tuple[float, ...]
    labels: tuple[str, ...] = ()


class Family:
    """Counters, and at most one duration, with the same labels."""

    def __init__(
        self,
        *,
        labels: tuple[str, ...],
        counters: tuple[CountedSeries, ...],
        timed: Timed | None,
        detail: Detail,
        owned: dict[Ref, list[tuple[Family, tuple[str, ...]]]],
    ) -> None:
        self._labels, self._counters, self._timed, self._detail = labels, counters, timed, detail
        self._owned = owned
        self._rows: dict[tuple[str, ...], list[float]] = {}
        self._together: dict[tuple[str, ...], list[float]] = {}
        self._kept = tuple(labels.index(label) for label in timed.labels) if timed else ()
        own_buckets = len(timed.bounds) + 1 if timed and detail is Detail.HISTOGRAMS else 0
        self._width = len(counters) + (2 if timed else 0) + own_buckets

    def add(self, trigger: Ref | None, values: tuple[str, ...], *columns: int, seconds: float | None = None) -> None:
        """Count one in each of the columns, and time it.

        Args:
            trigger: Whose series it is, which is removed with it; None: of no object, it stays.
            values: Of the labels, in their order.
            columns: Indexes of counters.
            seconds: How long it took, if that is known.
        """
        row = self._rows.get(values)
        if row is None:
            row = self._rows[values] = [0.0] * self._width
            if trigger is not None:
                self._owned.setdefault(trigger, []).append((self, values))
        for column in columns:
            row[column] += 1
        if seconds is None or self._timed is None:
            return
        first = len(self._counters)
        row[first] += 1
        row[first + 1] += seconds
        bucket = bisect_left(self._timed.bounds, seconds)
        if self._detail is Detail.HISTOGRAMS:
            row[first + 2 + bucket] += 1
            return
        kept = tuple(values[place] for place in self._kept)
        together = self._together.get(kept)
        if together is None:
            together = self._together[kept] = [0.0] * (len(self._timed.bounds) + 1)
        together[bucket] += 1

    def remove(self, values: tuple[str, ...]) -> None:
        """These series end."""
        self._rows.pop(values, None)

    def described(self, prefix: str) -> Iterator[Described]:
        """Its metrics, for the documentation."""
        for counter in self._counters:
            yield Described(
                name=f"{prefix}_{counter.name}_total", type="counter", labels=self._labels, text=counter.text
            )
        if self._timed is None:
            return
        name, text = f"{prefix}_{self._timed.name}", self._timed.text
        if self._detail is Detail.HISTOGRAMS:
            yield Described(name=name, type="histogram", labels=self._labels, text=text)
            return
        yield Described(name=name, type="summary", labels=self._labels, text=f"{text}: `_sum` and `_count`")
        labels = (*self._timed.labels, "le")
        yield Described(name=f"{name}_bucket", type="untyped", labels=labels, text=f"{text}, of all triggers together")

    def render(self, prefix: str) -> Iterator[str]:
        """The text exposition format, a metric or less at a time."""
        rows = self._rows.copy()  # in one step, unlike a list of its items: the loop may add rows meanwhile
        places = sorted(range(len(self._labels)), key=self._labels.__getitem__)
        names = [self._labels[place] for place in places]
        texts = [_labels(names, [values[place] for place in places]) for values in rows]
        for column, counter in enumerate(self._counters):
            for suffix, kind, note in self._names(counter):
                name = f"{prefix}_{counter.name}{suffix}"
                yield _head(name, kind, counter.text + note)
                yield "".join(
                    [f"{name}{{{text}}} {row[column]}\n" for text, row in zip(texts, rows.values(), strict=True)]
                )
        if self._timed is None:
            return
        name, first = f"{prefix}_{self._timed.name}", len(self._counters)
        yield _head(name, "histogram" if self._detail is Detail.HISTOGRAMS else "summary", self._timed.text)
        for text, row in zip(texts, rows.values(), strict=True):
            if row[first]:
                if self._detail is Detail.HISTOGRAMS:
                    yield from self._buckets(f"{name}_bucket", text, row[first + 2 :])
                yield f"{name}_count{{{text}}} {row[first]}\n{name}_sum{{{text}}} {row[first + 1]}\n"
        if self._detail is not Detail.HISTOGRAMS:
            # No counter: readers that know OpenMetrics would rename it to end in _total.
            yield _head(f"{name}_bucket", "untyped", f"{self._timed.text}, of all triggers together")
            for kept, counts in self._together.copy().items():
                yield from self._buckets(f"{name}_bucket", _labels(self._timed.labels, kept), counts)

    def _names(self, counter: CountedSeries) -> Iterator[tuple[str, str, str]]:
        yield "_total", "counter", ""
        if counter.in_v04 and self._detail is not Detail.LEAN:
            yield "", "untyped", " (name in v0.4)"

    def _buckets(self, name: str, text: str, counts: list[float]) -> Iterator[str]:
        assert self._timed is not None  # noqa: S101  for the type checker: only durations have buckets
        comma, so_far = "," if text else "", 0.0
        for bound, count in zip((*map(float, self._timed.bounds), "+Inf"), counts, strict=True):
            so_far += count
            yield f'{name}{{{text}{comma}le="{bound}"}} {so_far}\n'


class TriggerSeries:
    """All families; a trigger's rows in all of them are known by its reference."""

    def __init__(self, *, prefix: str, detail: Detail) -> None:
        self._prefix, self._detail = prefix, detail
        self._families: list[Family] = []
        self._owned: dict[Ref, list[tuple[Family, tuple[str, ...]]]] = {}

    def family(self, *labels: str, counters: tuple[CountedSeries, ...], timed: Timed | None = None) -> Family:
        """A new one."""
        family = Family(labels=labels, counters=counters, timed=timed, detail=self._detail, owned=self._owned)
        self._families.append(family)
        return family

    def forget(self, trigger: Ref) -> None:
        """A trigger is deleted: its series end."""
        for family, values in self._owned.pop(trigger, ()):
            family.remove(values)

    def triggers(self) -> list[Ref]:
        """The triggers that have series; one that was deleted while something of it was under way may come back."""
        return list(self._owned)

    def render(self) -> Iterator[bytes]:
        """The text exposition format, in pieces of about a quarter of a mebibyte."""
        piece: list[str] = []
        size = 0
        for family in self._families:
            for text in family.render(self._prefix):
                piece.append(text)
                size += len(text)
                if size >= _PIECE_BYTES:
                    yield "".join(piece).encode()
                    piece, size = [], 0
        yield "".join(piece).encode()


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _labels(names: Collection[str], values: Collection[str]) -> str:
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

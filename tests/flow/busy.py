"""Loops that are made slow, so that others work between two of their steps."""

import time


def work_for_a_slice():
    """Hold the loop for a little longer than a slice of time."""
    end = time.monotonic() + 0.011
    while time.monotonic() < end:
        pass


class Slow(list):
    """A list in which each item costs the reader a slice of time."""

    def __iter__(self):
        for item in super().__iter__():
            work_for_a_slice()
            yield item


def reading_slowly(monkeypatch, cluster):
    """The store's lists take long to read, so that others work between two objects."""
    real = cluster.store.all
    monkeypatch.setattr(cluster.store, "all", lambda *args: Slow(real(*args)))

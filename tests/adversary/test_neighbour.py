"""The measure itself: what it says of a quiet installation, and of a process that stands still."""

import signal
import time

import pytest


def test_a_quiet_installation_keeps_every_promise(estate):
    """Without an attack the neighbour's webhooks, schedule, probes and memory are within the measure."""
    estate.start()
    with estate.watched(seconds=6) as found:
        pass
    assert len(found[0].webhook_to_job) >= 15


def test_a_process_that_stands_still_is_noticed(estate):
    """A replica that is stopped for three seconds fails the measure: it can fail."""
    estate.start()
    with pytest.raises(AssertionError, match="webhook to Job p99"), estate.watched(seconds=8):
        _stand_still(estate.replica.process, seconds=4)


def _stand_still(process, *, seconds):
    time.sleep(1)
    process.send(signal.SIGSTOP)
    time.sleep(seconds)
    process.send(signal.SIGCONT)

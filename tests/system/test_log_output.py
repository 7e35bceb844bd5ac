"""Standard output that cannot be written costs log lines, and nothing else."""

import contextlib
import os

import pytest

from tests.cluster.plane import wait_until
from tests.system.conftest import sources


class Unwritable:
    """A descriptor of a full disk, of a closed pipe, or of one that is full and not read."""

    def __init__(self, case):
        self.case = case
        self.reading, self.writing = os.pipe()
        if case == "full disk":
            os.close(self.writing)
            self.writing = os.open("/dev/full", os.O_WRONLY)
        elif case == "closed pipe":
            os.close(self.reading)
        else:
            os.set_blocking(self.writing, False)
            with contextlib.suppress(BlockingIOError):
                while os.write(self.writing, b"x" * 4096):
                    pass
            os.set_blocking(self.writing, True)

    def close(self):
        """Close the descriptors."""
        os.close(self.writing)
        if self.case != "closed pipe":
            os.close(self.reading)


@pytest.mark.parametrize("case", ["full disk", "closed pipe", "unread pipe"])
def test_a_log_that_cannot_be_written_stops_nothing(world, installation, replicas, case):
    """Webhooks become Jobs, probes answer, the replica leads; what was dropped is counted."""
    world.ours("WebhookTrigger", installation, "hook", sources(onChangeOnly=False) | {"webhook": {"multiSource": True}})
    replica = replicas(0, log="debug")
    output = Unwritable(case)
    try:
        replica.kill()
        replica.process.start(stdout=output.writing)
        replica.wait_ready()
        wait_until("it leads", lambda: replica.leads, timeout_s=60)
        for _ in range(5):
            assert replica.post(f"/{installation}/hook") == 202
        wait_until("the Jobs", lambda: len(world.jobs(installation)) == 5)
        if case != "unread pipe":
            assert replica.metric("git_events_runner_log_lines_dropped_total") > 0
        assert replica.get("/alive")[0] == 200
        replica.terminate()
        assert replica.process.wait(30) == 0
    finally:
        output.close()

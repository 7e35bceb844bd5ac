"""A loop that is held up is measured and told."""

import asyncio
import time

from structlog.testing import capture_logs

from git_events_runner.serving import running
from git_events_runner.telemetry.loop_lag import LoopLag
from git_events_runner.telemetry.metrics import Metrics


async def test_a_loop_that_is_held_up_is_measured_and_told():
    """A second and a half without a turn: in the histogram, and one warning; a quiet second says nothing."""
    metrics = Metrics(prefix="g")
    with capture_logs() as lines:
        async with running(heartbeat=LoopLag(metrics=metrics).run()):
            await asyncio.sleep(0.2)
            assert not lines
            time.sleep(1.9)  # noqa: ASYNC251  holds the loop up, on purpose
            await asyncio.sleep(0.1)
    [line] = lines
    assert (line["event"], line["log_level"]) == ("loop.late", "warning")
    assert 1.5 < line["seconds"] < 3
    text = metrics.render().decode()
    assert 'g_event_loop_lag_seconds_bucket{le="1.0"} 0.0' in text
    assert 'g_event_loop_lag_seconds_bucket{le="5.0"} 1.0' in text

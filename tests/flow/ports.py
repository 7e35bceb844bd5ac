"""Both ports as a process of its own, with everything behind them in memory: `python -m tests.flow.ports`.

Prints the two port numbers as JSON, then serves until its standard input is closed.
"""

import asyncio
import contextlib
import json
import sys

import uvloop

from git_events_runner.flow.utility import Health, Probes
from git_events_runner.resources.ref import Ref
from git_events_runner.serving import listen, serving
from tests.flow.hooks import served

SERIES = 1500


async def main():
    """Serve the webhook port, and the utility port with some thousand series."""
    loop = asyncio.get_running_loop()
    health = Health(clock=loop.time)
    async with served() as port:
        for number in range(SERIES):
            port.metrics.check_finished(Ref("ScheduleTrigger", "ns", f"t{number}"), 0.1, "skip-same")
        with listen(0, host="127.0.0.1") as sock:
            async with serving(Probes(health=health, metrics=port.metrics).app, sock):
                print(json.dumps({"hooks": port.number, "utility": sock.getsockname()[1]}), flush=True)
                await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

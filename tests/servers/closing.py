"""Closing asyncio servers of tests without leaving a socket open."""

import asyncio
import contextlib


async def close_server(server):
    """Close an asyncio server; each connection that it has accepted has its handler or is closed.

    A task that is cancelled, or whose server is closed, before its first step drops the accepted socket, and pytest
    reports the open socket in whichever test runs then. So: accept no more, let the accepted ones begin, then close.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(2):
        await asyncio.sleep(0)
    server.close()


async def end_tasks():
    """Cancel every other task of this loop, and run the loop until their connections are closed."""
    quiet = 0
    while quiet < 4:  # aborted transports and handshakes close some turns later
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        quiet = 0 if tasks else quiet + 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving(handler, host="127.0.0.1", **options):
    """An asyncio server with `handler` for each connection; gives its port."""
    server = await asyncio.start_server(handler, host, 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await close_server(server)

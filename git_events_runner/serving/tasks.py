"""Endless coroutines as tasks of one group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from git_events_runner.errors import TaskEnded


@asynccontextmanager
async def running(**coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines while entered. One that returns or fails ends the body with that error; leaving cancels all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_endless(name, coroutine), name=name) for name, coroutine in coroutines.items()]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        for coroutine in coroutines.values():
            coroutine.close()  # one that was cancelled before its first step has never been awaited


async def _endless(name: str, coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine
    raise TaskEnded(f"{name} has ended, which it never should; this is a bug, please report it")

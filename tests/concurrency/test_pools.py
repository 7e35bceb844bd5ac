"""Pools: threads by purpose that take owners in turn, and never keep the process."""

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from git_events_runner.concurrency.pools import Pool


async def test_work_runs_in_a_thread_of_the_pool():
    """Work runs in a thread that has the pool's name, and its result comes back."""
    assert await Pool("keys", threads=1).run(lambda a, b: (threading.current_thread().name, a + b), 1, 2) == ("keys", 3)


async def test_an_error_is_the_callers():
    """What the work raises, its caller gets; the thread serves on."""
    pool = Pool("keys", threads=1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    assert await pool.run(lambda: 2) == 2


async def test_context_variables_travel():
    """Work sees the context variables of its caller."""
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("seen")
    assert await Pool("keys", threads=1).run(variable.get) == "seen"


async def test_owners_take_turns():
    """A hundred calls of one owner do not delay another owner's by more than one call."""
    pool, order, gate = Pool("trees", threads=1), [], threading.Event()
    first = asyncio.ensure_future(pool.run(gate.wait, 10, owner="evil"))
    crowd = [asyncio.ensure_future(pool.run(order.append, "evil", owner="evil")) for _ in range(100)]
    await asyncio.sleep(0)
    late = asyncio.ensure_future(pool.run(order.append, "good", owner="good"))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, late, *crowd)
    assert order.index("good") <= 1


async def test_an_owner_has_no_more_than_its_own_threads():
    """With `own=1` an owner's second call waits while another owner's call finds a thread."""
    pool, gate = Pool("trees", threads=2, own=1), threading.Event()
    held = asyncio.ensure_future(pool.run(gate.wait, 10, owner="evil"))
    second = asyncio.ensure_future(pool.run(lambda: "second", owner="evil"))
    assert await pool.run(lambda: "good", owner="good") == "good"
    assert not second.done()
    gate.set()
    assert await asyncio.gather(held, second) == [True, "second"]


async def test_no_more_threads_than_given():
    """Twenty calls run in three threads, all three of them at the same time."""
    pool, meeting = Pool("trees", threads=3), threading.Barrier(3)
    seen = await asyncio.gather(*(pool.run(lambda: (meeting.wait(10), threading.get_ident())[1]) for _ in range(21)))
    assert len(set(seen)) == 3


async def test_work_that_nobody_waits_for_is_not_begun():
    """A call whose caller is cancelled before its turn never runs."""
    pool, gate, ran = Pool("trees", threads=1), threading.Event(), []
    held = asyncio.ensure_future(pool.run(gate.wait, 10))
    given_up = asyncio.ensure_future(pool.run(ran.append, 1))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    await held
    await pool.run(int)
    assert ran == []


async def test_idle_threads_end():
    """A thread without work ends, and the next work starts another one."""
    pool = Pool("a-purpose-of-its-own", threads=1, idle_s=0.01)
    thread = await pool.run(threading.current_thread)
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert await pool.run(lambda: 3) == 3


def test_a_busy_thread_does_not_keep_the_process():
    """A process whose pool is busy for a minute ends with its main thread."""
    program = (
        "import asyncio, threading, time\n"
        "from git_events_runner.concurrency.pools import Pool\n"
        "async def main():\n"
        "    began = threading.Event()\n"
        "    work = asyncio.ensure_future(Pool('p', threads=1).run(lambda: (began.set(), time.sleep(60))))\n"
        "    while not began.is_set():\n"
        "        await asyncio.sleep(0.01)\n"
        "    work.cancel()\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


async def test_a_thread_that_could_not_start_is_tried_again(monkeypatch):
    """The limit of processes was reached for a moment: the caller gets the error, later work is done."""
    pool = Pool("few", threads=1)
    start = threading.Thread.start

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        await pool.run(int)
    monkeypatch.setattr(threading.Thread, "start", start)
    async with asyncio.timeout(5):
        assert await pool.run(str, 1) == "1"

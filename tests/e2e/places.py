"""The repositories and proxies that `options.py` speaks of, on this machine."""

import asyncio
import contextlib
import threading
from types import SimpleNamespace

from tests.e2e.node import ADDRESS
from tests.e2e.options import LOGIN, PROXY, Places
from tests.edges.git.proxies import proxy
from tests.servers.sshd import Sshd

_PROXY_LOGIN = (PROXY["username"], PROXY["password"])


@contextlib.contextmanager
def served(cluster, folder):
    """`places`, the repositories that move, what each proxy saw, and the Secret of sources."""
    names = ("", "basic", "token", "", "")
    one, basic, token, moving, called = (cluster.git.repository(place=place) for place in names)
    one.push({"README": "main\n"})
    one.tag("v1")
    for repository in (basic, token, moving, called):
        repository.push({"README": "main\n"})
    moving.tag("v1")
    for name in ("head", "merge"):
        called.git("update-ref", f"refs/pull/7/{name}", called.head())
    main = one.head()
    one.push({"README": "dev\n"}, branch="dev")
    sshd = Sshd(folder / "sshd", host=ADDRESS)
    try:
        with _running("http") as (http, through_http), _running("socks5") as (socks, through_socks):
            places = Places(
                open=one.url,
                basic=basic.url,
                token=token.url,
                ssh=sshd.url(one.path),
                tls=one.url.replace(cluster.git.url, cluster.git.tls_url),
                moving=moving.url,
                called=called.url,
                http_proxy=http,
                socks_proxy=socks.replace("socks5:", "socks5h:"),
                main=main,
                dev=one.head("dev"),
                basic_main=basic.head(),
                token_main=token.head(),
                called_main=called.head(),
            )
            login = LOGIN | {"key": sshd.key.read_text(), "bundle": cluster.git.authority.path.read_text()}
            seen = {"http": through_http, "socks5": through_socks}
            yield SimpleNamespace(places=places, moving=moving, called=called, seen=seen, login=login, sshd=sshd)
    finally:
        sshd.close()


@contextlib.contextmanager
def _running(kind):
    """A proxy in a loop of its own, in a thread: its URL and what it saw."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = proxy(kind, _PROXY_LOGIN, host=ADDRESS)
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(10)
        asyncio.run_coroutine_threadsafe(_end(context), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(context):
    await context.__aexit__(None, None, None)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # sockets are closed in the loop's next turn

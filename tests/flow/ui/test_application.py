"""The status page over HTTP: its paths, its headers, hostile names, live updates."""

import asyncio
import html
import re
import subprocess
import sys

import aiohttp
import pytest

from git_events_runner.flow.ui.words import visible
from tests.flow.ui.conftest import served
from tests.flow.ui.samples import Company, at

PAGES = ("/ui/", "/ui/triggers", "/ui/runs", "/ui/queue", "/ui/hosts", "/ui/triggers/WebhookTrigger/data/ledger")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "main\u202egpj.exe",
    "a\u0000b\u200bc",
    "{{ 7*7 }}{% raw %}",
    "x" * 250,
)


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_html_that_loads_nothing_from_elsewhere(get, path):
    """Content-Security-Policy allows this origin alone, and the page names no other; nothing is stored."""
    status, headers, text = await get(path)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    loaded = re.findall(r'<(?:link|script|img|iframe)[^>]*(?:href|src)="([^"]*)"', text)
    assert len(loaded) == 3
    assert not [address for address in loaded if "//" in address]
    assert not re.findall(r"<[^>]+\s(?:style|on\w+)=", text), "the policy forbids them"


async def test_the_page_only_reads(get):
    """Any method but GET and HEAD is refused."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status, headers, _ = await get("/ui/", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert (await get("/ui/", "HEAD"))[::2] == (200, "")


async def test_the_root_leads_to_the_overview(get):
    """By a relative address, so that a proxy may serve it below any path."""
    status, headers, _ = await get("/ui")
    assert (status, headers["Location"]) == (308, "ui/")


@pytest.mark.parametrize(
    "path",
    ["/ui/nothing", "/ui/triggers/Job/n/x", "/ui/triggers/WebhookTrigger/n/x", "/ui/static/../views.py", "/ui/a/b"],
)
async def test_what_is_not_there_is_404(get, path):
    """Also the page of a trigger that was deleted, and files outside of the folder."""
    status, headers, _ = await get(path)
    assert status == 404
    assert "default-src 'self'" in headers["Content-Security-Policy"]


async def test_style_and_script_are_cached_by_their_content(get):
    """Their address has a digest, so that an upgrade is seen immediately."""
    _, _, text = await get("/ui/")
    for name in re.findall(r'static/(\S+?\?v=\w+)"', text):
        status, headers, _ = await get(f"/ui/static/{name}")
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000")


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_are_shown_as_text(text):
    """Markup is escaped, and characters that turn or hide text are shown as escapes, wherever users choose a text."""
    made = Company()
    made.add("GitRepo", "shop", "app", spec={"repoUri": "https://git.example/app"})
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "Failed",
        "message": text,
        "lastTransitionTime": at(hours=1),
    }
    watch = {"onChangeOnly": True, "reference": {"branch": text}}
    trigger = made.trigger(
        "shop",
        "hook",
        sources=["app"],
        status={
            "conditions": [condition],
            "history": [{"source": "app", "reference": text, "phase": text, "reason": text}],
        },
        spec={"sources": {"names": ["app"], "watchOn": watch}, "schedule": {"interval": text}},
    )
    made.run(trigger, 1, ago_s=60, commit=text, reason=text)
    async with served(made) as url, aiohttp.ClientSession() as session:
        for path in ("", "triggers", "runs", "triggers/ScheduleTrigger/shop/hook?yaml=1", f"triggers?q={text}"):
            async with session.get(f"{url}/ui/{path}") as response:
                shown = await response.text()
            assert response.status == 200
            for part in ("<script>alert", "<img src=x", "\u202e", "\u200b", "\x00"):
                assert part not in shown
            if path == "triggers" or "ScheduleTrigger" in path:
                assert visible(text) in html.unescape(shown)


async def test_a_flood_of_views_is_refused(get):
    """Sixty in one moment, then twenty per second; files and the next second's views are served."""
    statuses = [(await get("/ui/hosts"))[0] for _ in range(150)]
    assert statuses[:60] == [200] * 60
    assert 503 in statuses
    status, headers, _ = await get("/ui/nothing")
    assert (await get("/ui/static/style.css"))[0] == 200
    assert status == 404 or headers["Retry-After"] == "1"


async def test_further_readers_get_no_live_updates(made):
    """Sixteen streams of one address; the next one is told to come later, and one that has left frees its place."""
    async with served(made) as url, aiohttp.ClientSession() as session:
        open_streams = [await session.get(f"{url}/ui/events") for _ in range(16)]
        for stream in open_streams:
            await stream.content.readuntil(b"\n\n")
        async with session.get(f"{url}/ui/events") as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
        open_streams.pop().close()
        async with asyncio.timeout(30):
            while (stream := await session.get(f"{url}/ui/events")).status != 200:
                stream.close()
        for each in (stream, *open_streams):
            each.close()


async def test_a_change_is_reported_within_two_seconds(made):
    """A stream of server-sent events reports that something has changed; it ends with the page."""
    async with served(made) as url, aiohttp.ClientSession() as session, session.get(f"{url}/ui/events") as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        assert b"retry: " in await events.content.readline()
        assert await events.content.readuntil(b"\n\n")
        made.trigger("shop", "another")
        async with asyncio.timeout(2):
            assert (await events.content.readuntil(b"\n\n")).startswith(b"event: changed\n")


async def test_a_page_without_the_objects_waits_for_them():
    """Before the objects are listed nothing is shown as missing."""
    from git_events_runner.edges.kube.store import Store, StoreWriter

    made = Company()
    made.store = Store()
    StoreWriter(made.store, "ScheduleTrigger")
    async with served(made) as url, aiohttp.ClientSession() as session, session.get(f"{url}/ui/") as response:
        assert response.status == 503
        assert "Reading the cluster" in await response.text()


def test_without_the_page_its_template_engine_is_not_imported():
    """A controller with the page off has neither Jinja2 nor the page's modules in memory."""
    code = "import sys, git_events_runner.app, git_events_runner.process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not [name for name in loaded if name.partition(".")[0] in {"jinja2", "markupsafe"} or ".flow.ui" in name]

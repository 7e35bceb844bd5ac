"""The status page in a real browser: accessibility, keyboard, small screens, live updates, hostile names."""

import contextlib
from dataclasses import replace
from importlib.resources import files

import pytest

from tests.flow.ui.conftest import served
from tests.flow.ui.samples import at, company, sha
from tests.flow.ui.test_scale import large
from tests.patience import timed
from tests.servers import browser as chromium

PAGES = {
    "overview": "",
    "triggers": "triggers",
    "trigger": "triggers/WebhookTrigger/data/ledger",
    "runs": "runs",
    "queue": "queue",
    "hosts": "hosts",
}
_MARKUP = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
_LONG = "n" * 250
# Texts of cells that are cut, but for those that end in an ellipsis by intent.
_CUT = """[...document.querySelectorAll("tbody th, tbody td")].filter(cell => cell.offsetParent
    && !cell.matches(".soft") && cell.scrollWidth > cell.clientWidth + 1).map(cell => cell.innerText)"""


@pytest.fixture
async def browser():
    async with contextlib.AsyncExitStack() as stack:
        try:
            yield await stack.enter_async_context(chromium.started())
        except chromium.Unavailable as missing:
            pytest.skip(str(missing))


@contextlib.asynccontextmanager
async def opened(browser, made, path="", **options):
    """A page, which reports its errors and requests of other origins at its end."""
    wrong = []
    async with served(made) as url:
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        page = await context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
        await page.goto(f"{url}/ui/{path}")
        yield page
        assert await page.evaluate("window.hurt") is None
        await context.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(browser, scheme):
    """Names, roles, contrast and order on all six pages, in both schemes."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    async with opened(browser, company(), color_scheme=scheme) as page:
        found = {}
        for name, path in PAGES.items():
            await page.goto(page.url.split("/ui/")[0] + f"/ui/{path}")
            await page.evaluate(axe)
            result = await page.evaluate("axe.run({resultTypes: ['violations']})")
            found[name] = [
                (each["id"], each["impact"], [node["html"] for node in each["nodes"]][:3])
                for each in result["violations"]
            ]
    assert found == {name: [] for name in PAGES}


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_no_page_is_wider_than_the_screen(browser, width):
    """Also with names of 250 characters: nothing has to be scrolled sideways."""
    made = company()
    hostile(made)
    async with opened(browser, made, viewport={"width": width, "height": 740}) as page:
        for path in (*PAGES.values(), f"triggers/ScheduleTrigger/shop/{_LONG}?yaml=1"):
            await page.goto(page.url.split("/ui/")[0] + f"/ui/{path}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert await page.evaluate(_CUT) == [], path


def hostile(made):
    """A trigger whose every text is chosen by somebody who means harm."""
    made.add("GitRepo", "shop", "app", spec={"repoUri": "https://git.example/app"})
    message = f"{_MARKUP} \u202egpj.exe {_LONG}"
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "Failed",
        "message": message,
        "lastTransitionTime": at(hours=1),
    }
    trigger = made.trigger(
        "shop",
        _LONG,
        sources=["app"],
        status={"conditions": [condition], "checkedSources": {"app": {"commitHash": sha("x"), "runs": 1}}},
        spec={
            "sources": {"names": ["app"], "watchOn": {"onChangeOnly": True, "reference": {"branch": _MARKUP}}},
            "action": {"kind": "Action", "name": _LONG},
        },
    )
    made.run(trigger, 1, ago_s=30, commit=_MARKUP, reason=message)


async def test_hostile_names_do_nothing(browser):
    """Markup in a branch, a message and a commit is text; what turns the direction is an escape; no script runs."""
    made = company()
    hostile(made)
    async with opened(browser, made, f"triggers/ScheduleTrigger/shop/{_LONG}?yaml=1") as page:
        text = await page.inner_text("main")
        assert _MARKUP in text
        assert "\\u202egpj.exe" in text
        assert await page.locator("main img, main script").count() == 0
        for path in PAGES.values():
            await page.goto(page.url.split("/ui/")[0] + f"/ui/{path}")


@pytest.mark.parametrize("path", [*PAGES.values(), f"{PAGES['trigger']}?yaml=1"])
async def test_the_keyboard_reaches_everything(browser, path):
    """On each page Tab visits each link and field in the order of the page, with a visible focus."""
    async with opened(browser, company(), path) as page:
        selector = "a[href], input, select, button, [tabindex='0']"
        every = await page.evaluate(f"[...document.querySelectorAll(`{selector}`)].length")
        seen = []
        for _ in range(every):
            await page.keyboard.press("Tab")
            seen.append(
                await page.evaluate(f"[...document.querySelectorAll(`{selector}`)].indexOf(document.activeElement)")
            )
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", "the focus is visible"
        assert seen == list(range(every))


async def test_the_keyboard_alone_searches(browser):
    """`/` moves the focus to the search, Enter applies it; the first stop skips the navigation."""
    async with opened(browser, company(), "triggers") as page:
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.name") == "q"
        await page.keyboard.type("store")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/triggers?q=store**")
        assert await page.locator("tbody tr").count() == 1
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"


async def test_a_change_is_on_the_page_within_two_seconds(browser):
    """Without a reload; what has the focus keeps it, and what was typed stays."""
    made = company()
    async with opened(browser, made, "triggers") as page:
        await page.wait_for_selector("#live[data-state=on]")
        await page.focus("tbody tr:nth-child(2) a")
        await page.fill("input[name=q]", "half typed")
        await page.focus("tbody tr:nth-child(2) a")
        with timed() as watch:
            made.trigger("shop", "a-new-one")
            await page.get_by_text("a-new-one").first.wait_for()
        assert watch.fair_s < 2
        assert await page.inner_text(".head p") == "13 triggers"
        assert await page.input_value("input[name=q]") == "half typed"
        assert await page.evaluate("document.activeElement.className") == "name"


async def test_the_first_paint_of_a_large_installation_takes_less_than_a_second(browser):
    """With 1,000 triggers and 10,000 runs, rows read for the first time."""
    made = large()
    with timed() as watch:
        async with opened(browser, made) as page:
            found = await page.evaluate(
                """new Promise(done => new PerformanceObserver(list => done(list.getEntries()[0].startTime))
                    .observe({type: "paint", buffered: true}))"""
            )
            assert await page.inner_text("h1") == "36 of 1,000 triggers need attention"
    assert found / 1000 / watch.slowness < 1


async def test_without_scripts_the_page_is_complete(browser):
    """Filters are forms, lists have links to further pages."""
    made = company()
    async with opened(browser, made, "runs") as page, contextlib.AsyncExitStack():
        context = await browser.new_context(java_script_enabled=False)
        plain = await context.new_page()
        await plain.goto(page.url)
        await plain.select_option("select[name=result]", "failed")
        await plain.click("button[type=submit]")
        assert "result=failed" in plain.url
        assert await plain.locator("tbody tr").count() > 3
        await context.close()


async def test_a_page_that_loses_its_server_shows_it(browser):
    """The live indicator says so; nothing else changes."""
    made = replace_facts(company())
    wrong = []
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(made))
        page = await browser.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(f"{url}/ui/")
        await page.wait_for_selector("#live[data-state=on]")
        await stack.aclose()
        await page.wait_for_selector("#live[data-state=off]")
        assert await page.inner_text("#live") == "Not connected"
        assert "2 of 12 triggers" in await page.inner_text("h1")
        await page.close()
    assert wrong == []


def replace_facts(made):
    """The same objects as another replica sees them."""
    made.facts = replace(made.facts, replica="another", leader="")
    return made

"""Debian's chromium, driven by playwright, which downloads no browser of its own."""

import shutil
from contextlib import asynccontextmanager

_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"]  # CI is root in a container


class Unavailable(Exception):
    """This machine has no chromium."""


_MARGIN = 48


async def picture(url, path, selector, *, login):
    """Write a picture of the part of a page that a selector finds, and what is around it; `login` prepares the page."""
    async with started() as browser:
        page = await browser.new_page(viewport={"width": 1100, "height": 1400}, reduced_motion="reduce")
        await login(page)
        await page.goto(url)
        found = await page.locator(selector).first.bounding_box()
        corner = {axis: max(0, found[axis] - _MARGIN) for axis in ("x", "y")}
        size = {side: found[side] + 2 * _MARGIN for side in ("width", "height")}
        path.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=path, clip=corner | size, full_page=True)


@asynccontextmanager
async def started():
    """A browser.

    Raises:
        Unavailable: There is none on this machine.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise Unavailable("no browser: chromium is not installed")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()

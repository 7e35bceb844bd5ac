"""Debian's chromium, driven by playwright, which downloads no browser of its own."""

import shutil
from contextlib import asynccontextmanager

_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"]  # CI is root in a container


class Unavailable(Exception):
    """This machine has no chromium."""


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

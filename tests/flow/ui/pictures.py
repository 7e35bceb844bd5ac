"""Pictures of the six pages, light and dark, for docs/status-page.md: `make pictures`.

They show the sample company of the tests, in a browser on this machine.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.flow.ui.conftest import served
from tests.flow.ui.samples import company
from tests.servers import browser as chromium

FOLDER = Path("docs/pictures")
PAGES = {
    "overview": "",
    "triggers": "triggers",
    "trigger": "triggers/WebhookTrigger/data/ledger",
    "runs": "runs",
    "queue": "queue",
    "hosts": "hosts",
}
_SIZE = {"width": 1120, "height": 840}
_MOST_BYTES = 150_000
# A machine without a desktop has no font of its own for `system-ui`.
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<include ignore_missing="yes">/etc/fonts/fonts.conf</include>
{matches}
</fontconfig>"""
_MATCH = """<match target="pattern"><test name="family"><string>{name}</string></test><edit name="family"
mode="prepend" binding="strong"><string>Inter</string><string>Liberation Sans</string></edit></match>"""


async def draw(folder):
    """Write all pictures; the browser is a real one, so that they are what users see."""
    folder.mkdir(parents=True, exist_ok=True)
    async with served(company()) as url, chromium.started() as browser:
        for scheme in ("light", "dark"):
            page = await browser.new_page(viewport=_SIZE, color_scheme=scheme, reduced_motion="reduce")
            for name, path in PAGES.items():
                await page.goto(f"{url}/ui/{path}")
                await page.wait_for_selector("#live[data-state=on]")
                target = folder / f"status-{name}-{scheme}.png"
                height = await page.evaluate("document.documentElement.scrollHeight")
                clip = {"x": 0, "y": 0, "width": _SIZE["width"], "height": min(height, _SIZE["height"])}
                await page.screenshot(path=target, clip=clip)
                size = target.stat().st_size
                print(f"{target}: {size:,} bytes")
                assert size < _MOST_BYTES, target


def main():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as fonts:
        names = ("system-ui", "sans-serif", "sans", "DejaVu Sans")
        fonts.write(_FONTS.format(matches="".join(_MATCH.format(name=name) for name in names)))
        fonts.flush()
        os.environ["FONTCONFIG_FILE"] = fonts.name
        try:
            asyncio.run(draw(FOLDER))
        except chromium.Unavailable as missing:
            sys.exit(str(missing))


if __name__ == "__main__":
    main()

"""What MkDocs needs beyond its configuration: files outside of docs/ are shown in the repository.

Pages link to each other, and to files of the repository, by relative paths that work on the forge. In the site a link
that leaves docs/ leads to the repository at the site's revision.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from posixpath import normpath
from typing import Any

_LINK = re.compile(r"\]\(((?:\.\./)+[^)\s#]*)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """A page whose links out of docs/ are URLs of the repository (MkDocs calls it for each page)."""
    folder = Path("docs", page.file.src_uri).parent
    base = f"{config.repo_url.rstrip('/')}/blob/{os.environ.get('REVISION', 'main')}"

    def url(match: re.Match[str]) -> str:
        target = normpath((folder / match[1]).as_posix())
        return match[0] if target.startswith("docs/") else f"]({base}/{target}{match[2] or ''})"

    return _LINK.sub(url, markdown)

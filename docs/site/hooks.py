"""What MkDocs needs beyond its configuration: files outside of docs/, descriptions of pages, the version.

Pages link to each other, and to files of the repository, by relative paths that work on the forge. In the site a link
that leaves docs/ leads to the repository at the site's revision; the changelog is a page of the site. The description
of a page, which search engines and chats show, is its first paragraph.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File

_ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(((?:\.\./)+[^)\s#]*)(#[^)\s]*)?\)")
_CHANGELOG, _CHANGES = "CHANGELOG.md", "changes.md"
_PARAGRAPH = re.compile(r"^[A-Z*`].*(?:\n\S.*)*", re.MULTILINE)
_DESCRIPTION = 200
# What a reader wants first comes first among the results of the search; other pages have 1.
_BOOSTS = {
    "how-to/": 3.0,
    "tutorials/": 2.0,
    "troubleshooting.md": 2.0,
    "runs.md": 2.0,
    "guarantees.md": 2.0,
    "comparison.md": 2.0,
    "notifications.md": 2.0,
    "tenancy.md": 1.5,
    "clusters.md": 1.5,
    "pods.md": 1.5,
    "kinds/": 0.7,
    "reference.md": 0.7,
    "chart-values.md": 0.7,
    "threat-model.md": 0.5,
    "performance": 0.3,
    "chaos.md": 0.3,
    "decisions/": 0.3,
    _CHANGES: 0.2,
}


def on_config(config: Any, **_: Any) -> Any:
    """The footer of each page names the version that it describes."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    revision = os.environ.get("REVISION", "")
    described = f"Version {project['version']}" if revision else f"Development after version {project['version']}"
    config.copyright = f"{described} · MIT"
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """The changelog of the repository is a page."""
    text = (_ROOT / _CHANGELOG).read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", text).replace("](docs/", "](")
    files.append(File.generated(config, _CHANGES, content=text.replace("# Changelog", "# Changes", 1)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """A page whose links out of docs/ are URLs of the repository (MkDocs calls it for each page)."""
    folder = Path("docs", page.file.src_uri).parent
    base = f"{config.repo_url.rstrip('/')}/blob/{os.environ.get('REVISION', 'main')}"
    page.meta.setdefault("description", _description(markdown))
    boosts = [boost for start, boost in _BOOSTS.items() if page.file.src_uri.startswith(start)]
    page.meta.setdefault("search", {"boost": boosts[0] if boosts else 1.0})

    def url(match: re.Match[str]) -> str:
        target = normpath((folder / match[1]).as_posix())
        if target == _CHANGELOG:
            return f"]({relpath(f'docs/{_CHANGES}', folder)}{match[2] or ''})"
        return match[0] if target.startswith("docs/") else f"]({base}/{target}{match[2] or ''})"

    return _LINK.sub(url, markdown)


def _description(markdown: str) -> str:
    """The first paragraph without its markup, cut at a word."""
    found = _PARAGRAPH.search(re.sub(r"```.*?```|<[^>]*>", "", markdown.partition("\n")[2], flags=re.DOTALL))
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", found[0] if found else "")
    text = " ".join(re.sub(r"[*`]", "", text).split())
    return text if len(text) <= _DESCRIPTION else text[:_DESCRIPTION].rpartition(" ")[0] + " …"

"""Templates, style sheet and script, read once. Only this file imports Jinja2."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .words import many, visible

_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


def _shown(value: Any) -> Any:
    """Converts the value of every expression of a template before it is escaped."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class Templates:
    """Renders pages; every value is escaped, and deceptive characters are shown as escapes.

    All templates are compiled here, once, so that no view waits for that.
    """

    def __init__(self) -> None:
        self.files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted((_FOLDER / "static").iterdir())
        }
        digest = hashlib.sha256(b"".join(content for content, _ in self.files.values()))
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"static_version": digest.hexdigest()[:12], "many": many}
        self._templates = {name: self._environment.get_template(name) for name in self._environment.list_templates()}

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """One page."""
        return self._templates[name].render(values)

"""Leaves of apprise what the controller imports: the plugins of its services, no picture and no translation.

    python3 images/trim_apprise.py SITE

What the other plugins would need (sockets, programs, OAuth, Markdown) is not in the image.
"""

import ast
import shutil
import sys
from pathlib import Path

_CALL = "_service"
PACKAGES = ("markdown", "oauthlib", "requests_oauthlib")  # of requirements/runtime.txt, and not in the image
_UNUSED = ("apprise/i18n", "apprise/assets", "apprise/cli.py", *(f"{name}*" for name in PACKAGES))


def main(site: Path) -> None:
    """Remove the rest."""
    services = ast.parse((site / "git_events_runner/edges/chat/services.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(services) if isinstance(node, ast.Call)]
    kept = {
        call.args[2].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == _CALL and isinstance(call.args[2], ast.Constant)
    }
    if not kept:
        raise SystemExit("no service is named")
    plugins = [path for path in (site / "apprise/plugins").iterdir() if path.stem not in {"__init__", "base", *kept}]
    for path in (*plugins, *(path for pattern in _UNUSED for path in site.glob(pattern))):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

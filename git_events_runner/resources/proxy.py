"""The proxy of a source: what its URL may be. Free of pydantic, as the cloner reads it too."""

from __future__ import annotations

import re

# The user name and password are in a Secret, the port is always given: proxies have no common default.
PROXY_URL = r"^(http|socks5h?)://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}$"
PROXY_URL_CHARS = 280
PROXY_URL_FORM = (
    "must be http://host:port, socks5://host:port or socks5h://host:port "
    "(user name and password belong into a Secret that proxy.secretRef names, not into the URL)"
)
_LAST_PORT = 65535


def problem_of(url: str, repo_uri: str) -> str | None:
    """What is wrong with a proxy for a repository; None: nothing.

    >>> problem_of("http://proxy.example:3128", "git@git.example:a/b")
    'is only for http and https; repoUri is an SSH address'
    """
    if len(url) > PROXY_URL_CHARS or url.endswith("\n") or re.match(PROXY_URL, url) is None:
        return f"url {PROXY_URL_FORM}"
    if int(url.rpartition(":")[2]) > _LAST_PORT:
        return f"url: the port must be at most {_LAST_PORT}"
    if not repo_uri.lower().startswith(("http://", "https://")):
        return "is only for http and https; repoUri is an SSH address"
    return None

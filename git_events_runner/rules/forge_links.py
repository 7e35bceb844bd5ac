"""Where people read a repository and a commit: addresses of the forge's own pages, if the forge is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_SCP = re.compile(r"(?P<user>[A-Za-z0-9_.-]+)@(?P<host>[A-Za-z0-9_.-]+):(?P<path>[^:]*)")
_URL = re.compile(
    r"(?P<scheme>https?|ssh)://(?:[A-Za-z0-9_.-]+@)?(?P<host>[A-Za-z0-9_.-]+)(?P<port>:[0-9]{1,5})?(?P<path>/.*)?"
)
_AZURE_SSH = re.compile(r"^v3/([^/]+/[^/]+)/([^/]+)$")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# Path of a commit's page below the repository's, by the name that `authConfig.type` has for the forge.
_COMMIT_PATHS = {
    "github": "commit",
    "gitlab": "-/commit",
    "gitea": "commit",
    "bitbucket": "commits",
    "azure": "commit",
}
_HOSTS = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "codeberg.org": "gitea",
    "bitbucket.org": "bitbucket",
    "dev.azure.com": "azure",
}
_LABELS = {"github": "github", "gitlab": "gitlab", "gitea": "gitea", "forgejo": "gitea"}


# Names of the same servers for SSH, for networks that let only port 443 through.
_SSH_HOSTS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPlace:
    """Where a repository is: the host without a port, in lower case, and the path without slashes around it."""

    host: str
    path: str


def repository_place(repo_uri: str) -> RepositoryPlace | None:
    """Host and path of a repository; None: it is no address of one.

    >>> repository_place("ssh://git@SSH.github.com:443/a/b.git")
    RepositoryPlace(host='github.com', path='a/b')
    """
    found = _URL.fullmatch(repo_uri) or _SCP.fullmatch(repo_uri)
    path = unquote((found["path"] or "").partition("?")[0]).strip("/").removesuffix(".git") if found else ""
    if found is None or not path or any(part in {"", ".", ".."} for part in path.split("/")):
        return None
    host = found["host"].lower().rstrip(".")
    return RepositoryPlace(host=_SSH_HOSTS.get(host, host), path=path)


def host_of(repo_uri: str) -> str:
    """The host of a repository, in lower case, with its port if it is given; empty for no address.

    >>> host_of("git@GitHub.com:a/b.git"), host_of("https://git.example:8443/a"), host_of("?")
    ('github.com', 'git.example:8443', '')
    """
    found = _URL.fullmatch(repo_uri) or _SCP.fullmatch(repo_uri)
    if found is None:
        return ""
    return (found["host"] + (found.groupdict().get("port") or "")).lower()


def commit_page(repo_uri: str, commit: str | None, forge: str | None = None) -> str | None:
    """The page of a commit at its forge; None where that is not known.

    Args:
        repo_uri: Address of the repository.
        commit: Its id.
        forge: The forge as `authConfig.type` names it, if a webhook has one; else the host decides.

    >>> commit_page("git@github.com:a/b.git", "0123456789")
    'https://github.com/a/b/commit/0123456789'
    >>> commit_page("https://git.example/a/b", "0123456789", "gitlab")
    'https://git.example/a/b/-/commit/0123456789'
    >>> commit_page("git@ssh.dev.azure.com:v3/org/project/app", "0123456789")
    'https://dev.azure.com/org/project/_git/app/commit/0123456789'
    """
    found = _URL.fullmatch(repo_uri) or _SCP.fullmatch(repo_uri)
    if found is None or not _COMMIT.fullmatch(commit or ""):
        return None
    host = found["host"].lower()
    host = _SSH_HOSTS.get(host, host)
    path = _COMMIT_PATHS.get(_forge_of(host) or forge or "")
    repository = _AZURE_SSH.sub(r"\1/_git/\2", (found["path"] or "").strip("/").removesuffix(".git"))
    if path is None or not repository or "?" in repository:
        return None
    scheme = "http" if found.groupdict().get("scheme") == "http" else "https"
    port = (found.groupdict().get("port") or "") if (found.groupdict().get("scheme") or "").startswith("http") else ""
    return f"{scheme}://{host}{port}/{quote(unquote(repository), safe='/')}/{path}/{commit}"


def _forge_of(host: str) -> str | None:
    """The forge whose name is in the host."""
    return _HOSTS.get(host) or next((forge for label, forge in _LABELS.items() if label in host.split(".")), None)

"""Whether two addresses name the same repository: http, ssh and scp forms, `.git`, case, ports.

Forges treat owner and repository names without regard to case. A port is compared with one of the same kind of protocol
only: the ports for ssh and http are independent.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_URL = re.compile(
    r"(https?|ssh|git\+ssh|git)://(?:[^/@]*@)?(\[[0-9a-fA-F:.]+\]|[^/:@]+)(?::(\d{1,5}))?(?:/(.*))?\Z",
    re.IGNORECASE | re.DOTALL,
)
_SCP = re.compile(r"(?:[^/@:]+@)?(\[[0-9a-fA-F:.]+\]|[^/@:]+):(?!//)(.*)\Z", re.DOTALL)
_PORTS = {"http": "80", "https": "443", "ssh": "22", "git+ssh": "22", "git": "9418"}
# Hosts that exist because some networks block port 22, and hosts with another name for ssh.
_HOSTS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
    "vs-ssh.visualstudio.com": "dev.azure.com",
}
_AZURE, _OLD_AZURE = "dev.azure.com", ".visualstudio.com"
_ANY = "*"
_ADDRESS_CHARS = 4096
_KEPT_CHARS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    ssh: bool
    host: str
    port: str
    path: str


def on_any_host(path: str) -> str:
    """The address of a repository in a payload that names no host, only the path.

    >>> same_repository("ssh://git@example.com:7999/team/app.git", [on_any_host("TEAM/app")])
    True
    >>> same_repository("https://example.com/scm/team/other.git", [on_any_host("TEAM/app")])
    False
    """
    return f"https://{_ANY}/{path}"


def same_repository(address: str, others: Iterable[str], *, aliases: Mapping[str, str] | None = None) -> bool:
    """Whether one of the others names the repository at `address`; `aliases` are other names of hosts, by name.

    >>> same_repository("git@example.com:Team/app", ["https://example.com:443/team/app.git"])
    True
    >>> same_repository("https://example.com/team/app", ["https://example.com:8443/team/app"])
    False
    """
    mine = _parsed(address)
    if mine is None:
        return False
    found = [other for other in map(_parsed, others) if other is not None]
    if any(other.host == _ANY and other.path == mine.path for other in found):
        return True
    names = aliases or {}
    host = names.get(mine.host, mine.host)
    alike = [other for other in found if other.ssh == mine.ssh]
    if alike and any(names.get(o.host, o.host) == host and o.port == mine.port and o.path == mine.path for o in alike):
        return True
    # Ports are compared on one host only: under another name, the same server may listen on another port.
    renamed = any(o.host != mine.host for o in alike)
    if alike and not (names and renamed):
        return False
    return any(names.get(o.host, o.host) == host and o.path == mine.path for o in found)


def _parsed(address: str) -> _Address | None:
    if len(address) > _ADDRESS_CHARS:
        return None
    return _read(address) if len(address) > _KEPT_CHARS else _known(address)


def _read(address: str) -> _Address | None:
    text = address.strip()
    url = _URL.match(text)
    if url:
        scheme = url[1].lower()
        given = str(int(url[3])) if url[3] else _PORTS[scheme]
        port = "" if given in {"80", "443"} and scheme.startswith("http") else given
        return _of(ssh="ssh" in scheme, host=url[2], port=port, path=url[4] or "")
    scp = _SCP.match(text)
    return _of(ssh=True, host=scp[1], port="22", path=scp[2]) if scp else None


_known = functools.lru_cache(maxsize=1024)(_read)


def _of(*, ssh: bool, host: str, port: str, path: str) -> _Address:
    name = host.lower().rstrip(".")
    parts = [part for part in unquote(path.partition("?")[0]).lower().split("/") if part]
    if parts and parts[-1].endswith(".git"):
        parts[-1] = parts[-1].removesuffix(".git")
    name, parts = _azure(name, parts)
    if not ssh:
        parts = _bitbucket(parts)
    return _Address(ssh=ssh, host=name, port="22" if ssh and port == "443" else port, path="/".join(parts))


def _azure(name: str, parts: list[str]) -> tuple[str, list[str]]:
    """Azure DevOps under its new and its old domain, over http and ssh: organisation, project, repository.

    https://learn.microsoft.com/azure/devops/release-notes/2018/sep-10-azure-devops-launch
    """
    if _HOSTS.get(name) == _AZURE and parts[:1] == ["v3"]:
        del parts[0]
    name = _HOSTS.get(name, name)
    if name.endswith(_OLD_AZURE):
        parts = [name.removesuffix(_OLD_AZURE), *(part for part in parts if part != "defaultcollection")]
        name = _AZURE
    if name == _AZURE:
        if len(parts) == 3 and parts[1] == "_git":  # noqa: PLR2004  a repository that is named as its project
            parts.insert(1, parts[2])
        parts = [part for part in parts if part != "_git"]
    return name, parts


def _bitbucket(parts: list[str]) -> list[str]:
    """Bitbucket Data Center over http, maybe below a context path: to clone, and the pages of a repository."""
    for start in range(min(2, len(parts))):
        kind, rest = parts[start], parts[start + 1 :]
        if kind == "scm" and len(rest) == 2:  # noqa: PLR2004  project and repository
            return rest
        if kind in {"projects", "users"} and rest[1:2] == ["repos"] and len(rest) > 2:  # noqa: PLR2004
            return [rest[0] if kind == "projects" else f"~{rest[0]}", rest[2]]
    return parts

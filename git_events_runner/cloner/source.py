"""Where to clone from: the mounted description with its files, as the controller renders it into Jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from git_events_runner.edges.git.access import access_of, proxy_of
from git_events_runner.edges.git.request import Credential, Repository
from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.description import AUTH_FILES, CA_FILE, SourceDescription
from git_events_runner.resources.ssh import SshAddress

_POLL_S = 0.5


def repository_of(description: SourceDescription, secrets: Mapping[str, str]) -> Repository:
    """The repository with its credential; `secrets` by the names of `resources.description`.

    Raises:
        SecretUnusable: A value is missing or cannot be sent.
    """
    credential = None
    url, auth_type = description.url, description.auth_type
    if auth_type is not None:
        missing = [name for name in AUTH_FILES[auth_type].values() if name not in secrets]
        if missing:
            raise SecretUnusable(f"the source's Secret lacks {', '.join(missing)}", reason="SecretKeyMissing")
    proxy = proxy_of(description.proxy_url, secrets) if description.proxy_url is not None else None
    if SshAddress.of(url) is not None:
        known = "\n".join(description.host_keys)
        ssh = access_of(secrets, known_hosts=known, any_host_key=description.any_host_key)
        return Repository(url=url, ssh=ssh, proxy=proxy)
    if auth_type == "basic":
        credential = Credential.basic(secrets["username"], secrets["password"])
    elif auth_type == "token":
        credential = Credential.token(secrets["token"])
    ca_pem, verify = secrets.get(CA_FILE), not description.no_verify_ssl
    return Repository(url=url, credential=credential, ca_pem=ca_pem, verify=verify, proxy=proxy)


async def wait_for_files(description: SourceDescription, timeout_s: float) -> None:
    """Return when the mounted files are there, or after that time: the Secret may be made after the pod has started."""
    folder, deadline = Path(description.secret_dir), asyncio.get_running_loop().time() + timeout_s
    while not all((folder / name).exists() for name in description.files):
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            return
        await asyncio.sleep(min(_POLL_S, left_s))


def described_repository(description: SourceDescription) -> Repository:
    """The repository of a description, its secrets read from the mounted files.

    Raises:
        SecretUnusable: A file is missing, unreadable or not UTF-8.
    """
    folder = Path(description.secret_dir)
    read = {name: _read(folder / name) for name in description.files}
    read |= {name: _read(folder / name) for name in description.optional_files if (folder / name).exists()}
    return repository_of(description, read)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnusable(f"the mounted file {path} cannot be read: {type(error).__name__}") from error

"""Where to clone from: the mounted description with its files, as the controller renders it into Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from git_events_runner.edges.git.question import Credential, Repository
from git_events_runner.errors import GitUnsupported, SecretUnusable
from git_events_runner.resources.description import AUTH_FILES, CA_FILE, AuthType, SourceDescription


def repository_of(
    *, url: str, auth_type: AuthType | None, no_verify_ssl: bool, secrets: Mapping[str, str], ca_pem: str | None
) -> Repository:
    """The repository with its credential; `secrets` by the names of `AUTH_FILES`.

    Raises:
        SecretUnusable: A value is missing or cannot be sent.
        GitUnsupported: The source needs SSH.
    """
    credential = None
    refuse_ssh(url, auth_type)
    if auth_type is not None:
        missing = [name for name in AUTH_FILES[auth_type].values() if name not in secrets]
        if missing:
            raise SecretUnusable(f"the source's Secret lacks {', '.join(missing)}", reason="SecretKeyMissing")
    if auth_type == "basic":
        credential = Credential.basic(secrets["username"], secrets["password"])
    elif auth_type == "token":
        credential = Credential.token(secrets["token"])
    return Repository(url=url, credential=credential, ca_pem=ca_pem, verify=not no_verify_ssl)


def refuse_ssh(url: str, auth_type: AuthType | None) -> None:
    """Let only sources pass that need no SSH.

    Raises:
        GitUnsupported: By its URL or its kind of credential it needs SSH.
    """
    if auth_type == "ssh" or "://" not in url or url.startswith("ssh://"):
        raise GitUnsupported("this build clones over http and https only: give the source an https URL")


def described_repository(description: SourceDescription) -> Repository:
    """The repository of a description, its secrets read from the mounted files.

    Raises:
        SecretUnusable: A file is missing, unreadable or not UTF-8.
        GitUnsupported: The source needs SSH.
    """
    refuse_ssh(description.url, description.auth_type)
    read = {name: _read(Path(description.secret_dir) / name) for name in description.files}
    return repository_of(
        url=description.url,
        auth_type=description.auth_type,
        no_verify_ssl=description.no_verify_ssl,
        secrets=read,
        ca_pem=read.get(CA_FILE),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnusable(f"the mounted file {path} cannot be read: {type(error).__name__}") from error

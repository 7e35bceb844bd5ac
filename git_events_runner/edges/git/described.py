"""A described source as the repository of transports: only this module turns a source into a git request."""

from __future__ import annotations

from collections.abc import Mapping

from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.description import AUTH_FILES, CA_FILE, SourceDescription
from git_events_runner.resources.ssh import SshAddress

from .access import access_of, proxy_of
from .request import Credential, Repository


def repository_of(description: SourceDescription, secrets: Mapping[str, str], *, owner: str = "") -> Repository:
    """The repository with its credential; `secrets` by the names of `resources.description`.

    Args:
        description: Of the source.
        secrets: The values of its Secrets.
        owner: The namespace for which it is requested.

    Raises:
        SecretUnusable: A value is missing or cannot be sent.
    """
    url, auth_type = description.url, description.auth_type
    if auth_type is not None:
        missing = [name for name in AUTH_FILES[auth_type].values() if name not in secrets]
        if missing:
            raise SecretUnusable(f"the source's Secret lacks {', '.join(missing)}", reason="SecretKeyMissing")
    proxy = proxy_of(description.proxy_url, secrets) if description.proxy_url is not None else None
    if SshAddress.of(url) is not None:
        known = "\n".join(description.host_keys)
        ssh = access_of(secrets, known_hosts=known, any_host_key=description.any_host_key)
        return Repository(url=url, ssh=ssh, proxy=proxy, owner=owner)
    credential = None
    if auth_type == "basic":
        credential = Credential.basic(secrets["username"], secrets["password"])
    elif auth_type == "token":
        credential = Credential.token(secrets["token"])
    return Repository(
        url=url,
        credential=credential,
        ca_pem=secrets.get(CA_FILE),
        verify=not description.no_verify_ssl,
        proxy=proxy,
        owner=owner,
    )

"""The certificates that a repository's server may show: contexts built from the CA of a Secret."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from git_events_runner.edges.git.request import Repository
from git_events_runner.errors import (
    GitTlsError,
)

_BEGIN, _END = "-----BEGIN ", "-----END CERTIFICATE-----"
_PART_CHARACTERS = 32 * 1024
NO_CA = "the CA given in the Secret is not a PEM certificate"


def trusted_parts(ca_pem: str) -> Iterator[str]:
    """The certificates of a bundle, some at a time: reading one holds the interpreter's lock."""
    *ended, rest = ca_pem.split(_END)
    part = ""
    for each in (*(each + _END for each in ended), rest):
        part += each
        if len(part) > _PART_CHARACTERS and _BEGIN in part:
            yield part
            part = ""
    if _BEGIN in part:
        yield part


def trusting(repository: Repository, ca_pem: str, context: ssl.SSLContext | None) -> ssl.SSLContext:
    """A context that trusts these certificates only, as git's `http.sslCAInfo`; intermediates and leaves too."""
    try:
        if context is not None:
            context.load_verify_locations(cadata=ca_pem)
            return context
        context = ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise GitTlsError(f"{repository}: {NO_CA}") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # Python 3.13 turns this on; private CAs without its extensions work with git and with v0.4.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context

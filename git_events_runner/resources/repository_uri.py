"""What is wrong with a repository's address, with what to write instead, without any part that may be secret."""

from __future__ import annotations

import re

from .hints import meant

FORMS = (
    "must be git@host:owner/path, ssh://[user@]host[:port]/path or http(s)://host[:port]/path "
    "(credentials belong into a Secret that authConfig names, not into the URI)"
)
_SCHEMES = ("http", "https", "ssh")
_HOST = r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"


def problem_of(uri: str) -> str:
    """The message for an address that is none of the forms taken.

    >>> problem_of("github.com/octocat/Spoon-Knife")
    'has no scheme; write https://github.com/octocat/Spoon-Knife'
    >>> problem_of("https://me:word@example.com/a")
    'holds a user name or password; put them into a Secret that authConfig names'
    """
    scheme, found, rest = uri.partition("://")
    if uri != uri.strip() or re.search(r"\s", uri):
        return "holds blanks or line breaks; write the address alone"
    if not found:
        return _without_scheme(uri)
    if scheme not in _SCHEMES:
        return _other_scheme(scheme)
    if scheme.startswith("http") and "@" in rest.partition("/")[0]:
        return "holds a user name or password; put them into a Secret that authConfig names"
    if scheme == "ssh" and re.match(rf"([^@/]+@)?{_HOST}:[A-Za-z_~]", rest):
        return "has a colon before its path; write ssh://git@host/owner/path, or git@host:owner/path without ssh://"
    if scheme == "ssh" and ":" in rest.partition("@")[0] and "@" in rest:
        return "holds a password; SSH logs in with a key, in a Secret that authConfig names"
    strange = next((char for char in rest.partition("/")[2] if not re.match(r"[/%&=?A-Za-z0-9_.-]", char)), None)
    if strange is not None:
        return f"holds the character {strange!r}; write it as %{strange.encode('utf-8', 'replace')[0]:02X}"
    return FORMS


def _without_scheme(uri: str) -> str:
    if uri.startswith(("/", "./", "../", "~")) or re.match(r"[A-Za-z]:[\\/]", uri):
        return "is a path of one machine; a repository has to be served, by https or ssh"
    if one_slash := re.match(r"(https?|ssh):/?(?=[^/])", uri):
        return f"has too few slashes; write {one_slash[1]}://host/path"
    if short := re.fullmatch(r"([^@/:]+)@([^/:]+):(.*)", uri):
        if short[1] == "git":
            return "names no owner; write git@host:owner/path, or ssh://git@host/path"
        return f"is the short form with a user other than git; write ssh://user@{short[2]}/path"
    if re.match(rf"{_HOST}(:[0-9]+)?/", uri):
        return f"has no scheme; write https://{uri.partition('?')[0]}"
    return FORMS


def _other_scheme(scheme: str) -> str:
    if scheme == "file":
        return "is a path of one machine; a repository has to be served, by https or ssh"
    if re.fullmatch(r"git\+(https?|ssh)", scheme):
        return f"has the scheme {scheme}; write {scheme.removeprefix('git+')}:// alone"
    if scheme == "git":
        return "has the scheme git, which neither encrypts nor authenticates; write https or ssh"
    return f"has an unknown scheme; {meant(scheme.lower(), _SCHEMES, 'write https, http or ssh')}"

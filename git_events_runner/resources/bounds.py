"""Bounds of what tenants, git servers and senders of webhooks give us to parse, in bytes unless the name differs.

Each is checked before the parser is called. The largest that is in use anywhere decides: a bound refuses what no user
needs, with a message that names object, field and remedy.
"""

from __future__ import annotations

from collections.abc import Mapping

from .description import CA_FILE, KEY_FILE, KNOWN_HOSTS_FILE, PASSPHRASE_FILE, PROXY_FILES

SECRETS_KEPT_BYTES = 16 * 2**20
"""All values of Secrets that are remembered."""

SECRET_VALUE_BYTES = 512 * 1024
"""One value of a Secret, for any use."""

CA_BYTES = SECRET_VALUE_BYTES
"""A bundle of certificates; the systems' own have 220 KiB."""

WEBHOOK_KEYS = 8
WEBHOOK_KEY_BYTES = 1024
"""Keys in the value of a webhook's Secret, one on each line, and the size of one."""

KEY_BYTES = 16 * 1024
"""The text of a private key for SSH: one of RSA with 16,384 bits has 13 KiB."""

PASSPHRASE_BYTES = 1024

KNOWN_HOSTS_BYTES = 64 * 1024
"""Known hosts in a source's Secret: 200 hosts with three keys each."""

CREDENTIAL_BYTES = 8 * 1024
"""User name, password or token: more fits into no header that a server takes."""

MOST_PATTERNS = 1000
PATTERN_CHARACTERS = 4096
PATTERNS_CHARACTERS = 64 * 1024
"""Path patterns of a trigger: how many, one, and all together."""

PATTERN_STEPS = 200_000_000
"""Steps in which a list of patterns is matched with all files of two commits; a million take 0.1 s of a thread."""

FILE_BYTES: Mapping[str, int] = {
    CA_FILE: CA_BYTES,
    KEY_FILE: KEY_BYTES,
    PASSPHRASE_FILE: PASSPHRASE_BYTES,
    KNOWN_HOSTS_FILE: KNOWN_HOSTS_BYTES,
    "username": CREDENTIAL_BYTES,
    "password": CREDENTIAL_BYTES,
    "token": CREDENTIAL_BYTES,
    **dict.fromkeys(PROXY_FILES.values(), CREDENTIAL_BYTES),
}
"""By the names that the values of a source's Secrets have in `resources.description`."""

STATUS_TEXT_CHARACTERS = 2048
STATUS_MESSAGE_CHARACTERS = 8000
STATUS_CONDITIONS = 16
STATUS_DELIVERIES_CHARACTERS = 64 * 11
STATUS_HOST_KEYS = 16
STATUS_OTHER_ENTRIES = 1000
STATUS_REFERENCES = 4000
STATUS_WARNINGS = 3000
STATUS_RUNS = 60
"""Of a stored status: a text, a condition's message, how many conditions, the digests of deliveries, how many pinned
host keys, how many entries of sources that the spec does not name (any more), and of references of those that it names,
how many warnings, and how many runs of the history."""

OBJECTS_OF_NAMESPACE_BYTES = 128 * 2**20
"""Memory for the objects of our kinds in one namespace; the default of `policy.objectMebibytesPerNamespace`."""

LIST_BYTES = 16 * 2**20
"""One page of a list from the API server; of larger objects fewer are requested at a time."""

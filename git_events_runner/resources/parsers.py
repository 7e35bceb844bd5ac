"""Everything that parses bytes of a tenant, of a git server or of a sender: what, its bound, its worst measured time.

A table, not code: `tests/repo/test_parsing.py` finds each call of a parsing function in the package, fails when it is
not here, and measures each parser with the worst input that its bound lets in. The page docs/bounds.md is made of it.
Where an entry has no bound of ours, another party's is named: the API server's of an object, the schema's of a field.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """One kind of input.

    Attributes:
        name: What is parsed.
        giver: Who chooses the bytes: `tenant`, `git server`, `sender` or `reader`.
        bound: What is checked before.
        refused: How more is handled.
        worst_ms: CPU time of the worst input within the bound, as measured on a machine of 2.1 GHz.
        thread: The pool in which it runs; empty: on the loop.
        calls: Where parsing functions are called for it, as `module:function`.
    """

    name: str
    giver: str
    bound: str
    refused: str
    worst_ms: float
    thread: str = ""
    calls: tuple[str, ...] = ()


def _kib(size: int) -> str:
    return f"{size // 1024} KiB"


PARSERS = (
    Parser(
        name="value of a Secret",
        giver="tenant",
        bound=f"{_kib(bounds.SECRET_VALUE_BYTES)} per value; only the keys that are used",
        refused="`SecretInvalid`",
        worst_ms=2,
        calls=("edges.kube.secrets:b64decode",),
    ),
    Parser(
        name="private key for SSH",
        giver="tenant",
        bound=f"{_kib(bounds.KEY_BYTES)}; `git.sshKeyBits`, `git.sshKeyRounds`; 2,000,000 iterations of PBKDF2; a "
        f"passphrase of {bounds.PASSPHRASE_BYTES} bytes; primes are not checked; each text once",
        refused="`SecretInvalid`",
        worst_ms=2000,
        thread="keys",
        calls=(
            "edges.git.ssh.key_bounds:b64decode",
            "edges.git.ssh.key_bounds:fromhex",
            "edges.git.ssh.keys:import_private_key",
        ),
    ),
    Parser(
        name="known hosts",
        giver="tenant",
        bound=f"{_kib(bounds.KNOWN_HOSTS_BYTES)}; each character of a pattern costs the same",
        refused="`SecretInvalid`",
        worst_ms=20,
        calls=("resources.ssh:b64decode", "edges.git.ssh.login:import_known_hosts"),
    ),
    Parser(
        name="certificates of a CA",
        giver="tenant",
        bound=f"{_kib(bounds.CA_BYTES)}, read in parts of 32 KiB",
        refused="`SecretInvalid`, `TlsFailed`",
        worst_ms=180,
        thread="certificates",
        calls=("edges.git.http.trust:create_default_context",),
    ),
    Parser(
        name="keys of a webhook",
        giver="tenant",
        bound=f"{bounds.WEBHOOK_KEYS} keys of {bounds.WEBHOOK_KEY_BYTES} bytes",
        refused="500, log event `secret.unreadable`",
        worst_ms=15,
        thread="signatures",
        calls=("rules.proofs:b64decode", "rules.proofs:from_public_bytes"),
    ),
    Parser(
        name="file patterns",
        giver="tenant",
        bound=f"{bounds.MOST_PATTERNS} patterns, {_kib(bounds.PATTERNS_CHARACTERS)} together; "
        f"{bounds.PATTERN_STEPS:,} steps to match a commit",
        refused="`InvalidSpec`",
        worst_ms=25_000,
        thread="patterns",
    ),
    Parser(
        name="patterns of references",
        giver="tenant",
        bound="four lists of 32 patterns of 255 characters; 20,000 references with names of 255 characters",
        refused="refused by the API server; `TooManyReferences`; a reference with a longer name is not watched",
        worst_ms=3000,
        thread="patterns",
        calls=("rules.references:match", "rules.versions:search", "rules.versions:fullmatch"),
    ),
    Parser(
        name="URL of a source or of its proxy",
        giver="tenant",
        bound="2,048 and 280 characters (schema)",
        refused="the API server, or `Unsupported`",
        worst_ms=1,
        calls=(
            "edges.git.http.transport:URL",
            "edges.git.http.sessions:URL",
            "edges.git.http.socks:URL",
            "edges.git.http.proxies:URL",
            "edges.git.http.proxies:fullmatch",
            "edges.git.http.proxies:ip_address",
            "edges.git.http.proxies:ip_network",
            "edges.git.request:fullmatch",
            "edges.git.request:match",
            "edges.git.request:search",
            "resources.proxy:match",
            "resources.repository_uri:fullmatch",
            "resources.repository_uri:match",
            "resources.repository_uri:search",
            "resources.ssh:match",
            "edges.git.allowed_addresses:IPv4Address",
            "edges.git.allowed_addresses:fullmatch",
            "edges.git.allowed_addresses:ip_address",
            "edges.git.allowed_addresses:ip_network",
            "edges.git.http.messages:URL",
            "wiring.messenger:urlsplit",
            "rules.notifications.commit_status:urlsplit",
            "rules.forges.repository_urls:match",
            "rules.forges.repository_urls:unquote",
        ),
    ),
    Parser(
        name="cron and interval",
        giver="tenant",
        bound="256 characters",
        refused="`InvalidSchedule`",
        worst_ms=5,
        calls=(
            "rules.schedule.cron:ZoneInfo",
            "rules.schedule.cron:croniter",
            "rules.schedule.cron:match",
            "rules.schedule.intervals:match",
        ),
    ),
    Parser(
        name="quantities, patterns of the schema",
        giver="tenant",
        bound="lengths of the schema",
        refused="the API server, or `InvalidSpec`",
        worst_ms=1,
        calls=("rules.quantities:fullmatch", "resources.rule:search", "resources.rule:sub"),
    ),
    Parser(
        name="object of our kinds, or a Job",
        giver="tenant",
        bound="1.5 MiB (API server); `policy.objectMebibytesPerNamespace`; a status as the controller would write it",
        refused="`InvalidSpec`",
        worst_ms=5,
        calls=(
            "edges.kube.responses:loads",
            "edges.kube.client:loads",
            "edges.kube.streams:loads",
            "resources.parse:TypeAdapter",
            "resources.schema:TypeAdapter",
            "resources.status:TypeAdapter",
            "rules.reference_entries:TypeAdapter",
            "resources.job:fromisoformat",
            "resources.job:fullmatch",
            "resources.job:search",
        ),
    ),
    Parser(
        name="packets of git's protocol",
        giver="git server",
        bound="64 KiB per packet; `git.refsBytes`, `git.advertisementBytes`, `git.packBytes`",
        refused="`ProtocolError`, `RepositoryTooLarge`",
        worst_ms=600,
        calls=("edges.git.pktline:int",),
    ),
    Parser(
        name="author and message of a commit",
        giver="git server",
        bound="64 KiB of the commit; 2 MiB of a pack that does not begin with it; messages are cut to 4,096 "
        "characters, and compared with 16 patterns of 128 (authors: 256 characters)",
        refused="`RepositoryTooLarge`; the rest of a commit is not read",
        worst_ms=40,
        calls=(
            "edges.git.commits:decompress",
            "edges.git.commits:decompressobj",
            "edges.git.commits:match",
            "edges.git.commits:search",
            "rules.ignore:search",
        ),
    ),
    Parser(
        name="pack with the trees of a commit",
        giver="git server",
        bound="`git.packBytes`, `git.inflatedBytes`, `git.treeBytes`, `git.treeEntries`; paths of 4,096 characters",
        refused="`RepositoryTooLarge`",
        worst_ms=20_000,
        thread="trees",
        calls=(
            "edges.git.pack_cursor:decompress",
            "edges.git.pack_cursor:decompressobj",
            "edges.git.packs:findall",
            "edges.git.packs:finditer",
            "edges.git.packs:fromhex",
            "edges.git.packs:int",
        ),
    ),
    Parser(
        name="HTTP framing of a response",
        giver="git server",
        bound="64 KiB of headers, 16 informational responses; 512 KiB more than twice the content",
        refused="`ProtocolError`",
        worst_ms=100,
        calls=("edges.git.http.errors:URL", "edges.git.http.errors:parsedate_to_datetime"),
    ),
    Parser(
        name="SSH framing of a response",
        giver="git server",
        bound="128 KiB more than twice the content, and 512 KiB per command",
        refused="`ProtocolError`",
        worst_ms=300,
    ),
    Parser(
        name="answer of an LFS server",
        giver="git server",
        bound="1 MiB for 100 contents; 32 headers for a download, of 16 KiB each; only in the cloner",
        refused="the clone fails",
        worst_ms=30,
        calls=("edges.git.http.lfs:loads", "edges.git.http.lfs:URL", "edges.git.http.lfs:match"),
    ),
    Parser(
        name="payload of a webhook",
        giver="sender",
        bound="25 MiB, after it was verified; above 256 KiB only the required fields, in 2,000,000 steps",
        refused="413, 400",
        worst_ms=1000,
        thread="payloads",
        calls=(
            "rules.forges.payload:loads",
            "rules.forges.fields:loads",
            "rules.forges.fields:match",
            "rules.proofs:fromhex",
            "rules.proofs:sub",
        ),
    ),
    Parser(
        name="head of a webhook",
        giver="sender",
        bound="256 KiB; 64 forwarding proxies",
        refused="connection closed, 400",
        worst_ms=5,
        calls=(
            "flow.webhooks.application:match",
            "rules.signatures:search",
            "rules.senders:ip_address",
            "rules.senders:ip_network",
            "rules.forges.push:match",
            "rules.forges.push:search",
        ),
    ),
    Parser(
        name="address of a view of the status page",
        giver="sender",
        bound="32 KiB for the head of a request; a query of 2,048 characters; only where the page is enabled",
        refused="the connection is closed; a longer query is ignored",
        worst_ms=5,
        calls=("flow.ui.application:parse_qsl", "flow.ui.application:unquote"),
    ),
    Parser(
        name="texts on the status page",
        giver="tenant",
        bound="the schema's bounds of fields; 50 rows per page; only where the page is enabled",
        refused="further rows are on further pages",
        worst_ms=20,
        calls=(
            "flow.ui.words:sub",
            "rules.forge_links:fullmatch",
            "rules.forge_links:sub",
            "rules.forge_links:unquote",
        ),
    ),
    Parser(
        name="templates, key and marks of a Notifier",
        giver="tenant",
        bound="255 and 2,048 characters (schema); a value of a Secret; 7,000 characters and 100 marks of a Job",
        refused="the API server, or `SecretInvalid`; further marks are ignored",
        worst_ms=5,
        calls=(
            "rules.notifications.marks:fullmatch",
            "rules.notifications.report:sub",
            "rules.notifications.webhook:b64decode",
        ),
    ),
    Parser(
        name="log of a worker, and the values that are masked in it",
        giver="tenant",
        bound="the last 32 KiB; 20 Secrets, 128 KiB of values in 2,000 forms, which are in it 10,000 times",
        refused="the message has no lines, and the reason",
        worst_ms=12,
        calls=("rules.notifications.worker_log:sub", "wiring.worker_logs:b64decode"),
    ),
    Parser(
        name="address of a chat system, by a plugin of apprise",
        giver="tenant",
        bound="2,048 characters, 10 addresses; only plugins of a list",
        refused="`SecretInvalid`",
        worst_ms=10,
        thread="chat",
        calls=(),
    ),
)

TRUSTED = {
    "resources.parse:findall": "messages about our own models",
    "serving.webhook_port:load": "our own certificates",
    "serving.certificates:load_pem_x509_certificate": "the installation's certificate",
    "edges.kube.server_clock:parsedate_to_datetime": "a header of the API server",
    "edges.kube.connection:urlsplit": "the kubeconfig",
    "resources.description:loads": "what the controller wrote into the Job; the cloner reads it",
    "resources.clone_options:loads": "what the controller wrote into the Job; the cloner reads it",
    "resources.pod_parts:loads": "a file of the package",
    "settings.document:findall": "the runtime config",
    "settings.document:load": "the runtime config",
    "settings.document:model_validate": "the runtime config",
    "settings.options:fullmatch": "flags and environment",
    "settings.options:ip_network": "flags and environment",
    "settings.process:fullmatch": "flags and environment",
    "settings.process:ip_address": "flags and environment",
    "settings.process:match": "flags and environment",
    "settings.values:ip_network": "the runtime config",
    "telemetry.logs:fullmatch": "flags and environment",
}
"""Calls for bytes of the administrator, or of our own, by `module:function`: whose."""

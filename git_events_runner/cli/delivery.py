"""What a delivery of a webhook would do, by the rules that the controller applies, without sending it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.resources.parse import parse
from git_events_runner.rules.forges import (
    BY_NAME,
    IgnoredEvent,
    MalformedPayload,
    Push,
    forge_of,
    read,
    same_repository,
    selected,
    watched,
)
from git_events_runner.rules.proofs import Scheme, Signature
from git_events_runner.rules.references import Watched
from git_events_runner.rules.signatures import KeysRefused, judge, keys_of

from .facts import Facts, named, ref_of
from .findings import Explanation, Rank, Step, listed, words_of

_HMAC_HEADER = "x-signature"
_REFUSED = {
    Signature.MISSING: (
        "401",
        "has no signature or secret in header {header}",
        "send it with the forge's headers: --header",
    ),
    Signature.WRONG: (
        "403",
        "has a wrong signature",
        "the forge's secret differs from the Secret, or the body was changed",
    ),
    Signature.OLD: (
        "401",
        "has a signature with a time that is too old or ahead",
        "check the sender's clock; replays are refused",
    ),
    Signature.UNUSABLE: (
        "500",
        "cannot be verified: the Secret holds no usable secret",
        "correct the value in the Secret",
    ),
}
_SENT_BY = {"github": "x-hub-signature-256", "gitlab": "x-gitlab-token", "gitea": "x-gitea-signature",
            "bitbucket": "x-hub-signature", "azure": "authorization",
            "standard-webhooks": "webhook-signature"}  # fmt: skip
Headers = Mapping[str, Sequence[bytes]]


def explain_delivery(facts: Facts, file: str, lines: Sequence[str]) -> Explanation:
    """Whether the delivery would be accepted, and which sources it would check.

    Raises:
        ConfigError: The file cannot be read, a header is none, or the trigger takes no deliveries.
    """
    if facts.trigger["kind"] != "WebhookTrigger":
        raise ConfigError(f"--payload: {ref_of(facts.trigger)} takes no deliveries; name a webhooktrigger")
    body, headers = _body(file), _headers(lines)
    steps = list(_steps(facts, headers, body))
    return Explanation(cause=min(steps, key=lambda step: step.rank), steps=tuple(steps))


def _steps(facts: Facts, headers: Headers, body: bytes) -> Iterator[Step]:
    yield Step(topic="delivery", text=f"{len(body)} bytes, headers {listed(headers) or 'none'}")
    try:
        model: Any = parse(facts.trigger)
    except InvalidObject as error:
        yield Step(topic="trigger", text=f"it gets 500: the trigger's spec is not valid: {error}", rank=Rank.INVALID)
        return
    spec = model.spec
    auth = spec.webhook.auth_config
    refused = _unverified(facts, auth, headers, body) if auth is not None else None
    if refused is not None:
        yield refused
        if refused.rank < Rank.CONTEXT:
            return
    elif auth is None:
        yield Step(topic="authentication", text="the trigger accepts every request: it has no authConfig")
    else:
        yield Step(topic="authentication", text=f"it is verified as {auth.type}")
    kind = auth.type if auth is not None else "header"
    names = list(spec.sources.names)
    chosen: Sequence[str] | IgnoredEvent = names
    commit = None
    if kind in BY_NAME or spec.webhook.match_repository:
        try:
            push = read(forge_of(kind, headers), headers, body)
        except MalformedPayload as error:
            yield Step(
                topic="payload",
                text=f"it gets 400: {error}",
                rank=Rank.INVALID,
                remedy="send what the forge sends, as JSON",
            )
            return
        if isinstance(push, Push):
            changes = listed(f"{one.reference}{' (deleted)' if one.deleted else ''}" for one in push.changes)
            repositories = listed(push.repositories) or "an unnamed repository"
            yield Step(
                topic="payload",
                text=f"a push to {repositories} of {changes or 'unknown references'}",
            )
        chosen, commit = _chosen(facts, model, push)
    if isinstance(chosen, IgnoredEvent):
        yield Step(
            topic="decision",
            text=f"it gets 200 and is ignored: {chosen.reason}",
            rank=Rank.OTHER_REFERENCE,
            remedy="if it should cause a run, correct spec.sources.watchOn.reference or the source's repoUri",
        )
        return
    about = f", which is to be at commit {commit[:12]}" if commit else ""
    if spec.suspend:
        yield Step(
            topic="decision",
            text=f"it gets 202 and is recorded for {listed(chosen)}; the trigger is suspended",
            rank=Rank.SUSPENDED,
            remedy=f"resume it: git-events-runner resume {words_of(facts)}",
        )
    else:
        yield Step(topic="decision", text=f"it gets 202, and {listed(chosen)} is checked{about}", rank=Rank.RAN)


def _unverified(facts: Facts, auth: Any, headers: Headers, body: bytes) -> Step | None:
    """Why the request is refused, or cannot be verified here; None: it is verified."""
    where = f"key {auth.key} of Secret {auth.secret_ref.name}"
    if facts.webhook_key is None:
        why = next((text for what, text in facts.unread.items() if what.startswith("Secret ")), None)
        if why is None:
            return Step(
                topic="authentication",
                text=f"it gets 500: {where} does not exist",
                rank=Rank.SECRET,
                remedy="create it",
            )
        return Step(topic="authentication", text=f"it cannot be verified here, because you may not read {where}: {why}")
    default = _HMAC_HEADER if auth.type == "hmac" else facts.config.trigger.webhook.default_auth_header
    scheme = Scheme(type=auth.type, header=(auth.header or default).lower(), algorithm=auth.algorithm)
    try:
        found = judge(scheme, headers, body, keys_of(facts.webhook_key), now_s=facts.now.timestamp())
    except KeysRefused as error:
        return Step(topic="authentication", text=f"it gets 500: {where} {error}", rank=Rank.SECRET)
    if found is Signature.GOOD:
        return None
    code, text, remedy = _REFUSED[found]
    text = text.format(header=_SENT_BY.get(auth.type, scheme.header))
    return Step(
        topic="authentication", text=f"it gets {code}: the delivery {text} ({where})", rank=Rank.SECRET, remedy=remedy
    )


def _chosen(facts: Facts, model: Any, push: Push | IgnoredEvent) -> tuple[Sequence[str] | IgnoredEvent, str | None]:
    """The sources that a push concerns, and the commit that it announces; or why it concerns none."""
    if isinstance(push, IgnoredEvent):
        return push, None
    spec, namespace = model.spec, str(model.ref.namespace)
    aliases, names = facts.config.trigger.webhook.host_aliases, list(spec.sources.names)
    uris = {
        name: str(
            (facts.objects.get(named(spec.sources.kind, namespace, name), {}).get("spec") or {}).get("repoUri") or ""
        )
        for name in names
    }
    mine = [name for name in names if same_repository(uris[name], push.repositories, aliases=aliases)]
    if not mine and spec.webhook.match_repository:
        return IgnoredEvent(reason="no source of the trigger is the repository that was pushed to"), None
    if spec.sources.watch_on.references is not None:
        changes = selected(push, Watched.of(spec.sources.watch_on.references).selects)
        return (changes, None) if isinstance(changes, IgnoredEvent) else (mine or names, None)
    reference = spec.sources.watch_on.reference
    moved = watched(push, reference.type, reference.name)
    if isinstance(moved, IgnoredEvent):
        return moved, None
    return mine or names, moved.commit


def _body(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"--payload: {file} cannot be read: {error.strerror}") from error


def _headers(lines: Sequence[str]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ConfigError(f"--header: {line!r} is no header; write it as 'X-GitHub-Event: push'")
        found.setdefault(name.strip().lower(), []).append(value.strip().encode("latin-1", "replace"))
    if "content-type" not in found:
        found["content-type"] = [b"application/json"]
    return found

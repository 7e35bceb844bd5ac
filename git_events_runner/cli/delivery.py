"""What a delivery of a webhook would do, by the rules that the controller applies, without sending it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import named
from git_events_runner.rules.delivery_choice import Choice, choice_of
from git_events_runner.rules.forges import (
    BY_NAME,
    PING,
    IgnoredEvent,
    MalformedPayload,
    PullRequest,
    Push,
    forge_of,
    read,
)
from git_events_runner.rules.proofs import Scheme, Signature
from git_events_runner.rules.signatures import KeysRefused, keys_of, verify_signature

from .facts import Facts, ref_of
from .findings import Explanation, Rank, Step, listed, words_of
from .overview import reference_of
from .source_findings import title

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
    chosen: Choice | IgnoredEvent = Choice(requests=dict.fromkeys(names))
    event: Push | PullRequest | IgnoredEvent | None = None
    if kind in BY_NAME or spec.webhook.match_repository:
        try:
            event = read(forge_of(kind, headers), headers, body)
        except MalformedPayload as error:
            yield Step(
                topic="payload",
                text=f"it gets 400: {error}",
                rank=Rank.INVALID,
                remedy="send what the forge sends, as JSON",
            )
            return
        if not isinstance(event, IgnoredEvent):
            yield Step(topic="payload", text=_pull_request(event) if isinstance(event, PullRequest) else _push(event))
        chosen = _chosen(facts, model, event)
    if isinstance(chosen, IgnoredEvent):
        yield Step(
            topic="decision",
            text=f"it gets 200 and is ignored: {chosen.reason}{_reported(event, chosen.reason)}",
            rank=Rank.OTHER_REFERENCE,
            remedy=_to_be_checked(event, facts),
        )
        return
    commits = dict.fromkeys(commit[:12] for commit in chosen.requests.values() if commit)
    about = f", which is to be at commit {listed(commits)}" if commits else ""
    sources = listed(map(title, chosen.requests) if spec.sources.watch_on.references is not None else chosen.requests)
    if spec.suspend:
        yield Step(
            topic="decision",
            text=f"it gets 202 and is recorded for {sources}; the trigger is suspended",
            rank=Rank.SUSPENDED,
            remedy=f"resume it: git-events-runner resume {words_of(facts)}",
        )
    else:
        yield Step(topic="decision", text=f"it gets 202, and {sources} is checked{about}", rank=Rank.RAN)


def _push(event: Push) -> str:
    """What a delivery reports of a push."""
    return f"a push to {listed(event.repositories) or 'an unnamed repository'} of {_changes(event)}"


def _changes(event: Push) -> str:
    """The references that a push moves."""
    changes = listed(f"{one.reference}{' (deleted)' if one.deleted else ''}" for one in event.changes)
    return changes or "unknown references"


def _reported(event: Push | PullRequest | IgnoredEvent | None, reason: str) -> str:
    """What was pushed to, where the reason for which it is ignored does not name it."""
    if not isinstance(event, Push) or not event.changes or event.changes[0].reference in reason:
        return ""
    return f" (the push is of {_changes(event)})"


def _to_be_checked(event: Push | PullRequest | IgnoredEvent | None, facts: Facts) -> str:
    """What to change so that such a delivery is not ignored."""
    if isinstance(event, IgnoredEvent):
        if event == PING:
            return "the forge reaches the controller, and has to send pushes next"
        return "let the forge send pushes (and pull requests, where they are watched)"
    if isinstance(event, PullRequest):
        return "if it should cause a run, see spec.sources.watchOn.references.pullRequests"
    watch = ((facts.trigger.get("spec") or {}).get("sources") or {}).get("watchOn") or {}
    field = "references" if watch.get("references") else "reference"
    return (
        f"push to {reference_of(facts.trigger)}; or, if this should cause a run, "
        f"correct spec.sources.watchOn.{field} or the source's repoUri"
    )


def _pull_request(event: PullRequest) -> str:
    """What a delivery reports of a pull request."""
    where = "of a fork" if event.fork else "of a branch of the repository itself"
    state = "closed" if event.closed else "open"
    return f"pull request {event.number} of {listed(event.repositories) or 'an unnamed repository'}, {where}, {state}"


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
        found = verify_signature(scheme, headers, body, keys_of(facts.webhook_key), now_s=facts.now.timestamp())
    except KeysRefused as error:
        return Step(topic="authentication", text=f"it gets 500: {where} {error}", rank=Rank.SECRET)
    if found is Signature.GOOD:
        return None
    code, text, remedy = _REFUSED[found]
    text = text.format(header=_SENT_BY.get(auth.type, scheme.header))
    return Step(
        topic="authentication", text=f"it gets {code}: the delivery {text} ({where})", rank=Rank.SECRET, remedy=remedy
    )


def _chosen(facts: Facts, model: Any, event: Push | PullRequest | IgnoredEvent) -> Choice | IgnoredEvent:
    """What a delivery requests, by the rules of the webhook port."""
    spec, namespace = model.spec, str(model.ref.namespace)

    def address(name: str) -> str:
        source = facts.objects.get(named(spec.sources.kind, namespace, name), {})
        return str((source.get("spec") or {}).get("repoUri") or "")

    return choice_of(event, spec, spec.sources.names, address, facts.config.trigger.webhook.host_aliases)


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

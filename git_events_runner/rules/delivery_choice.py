"""What a delivery requests of a trigger: which sources, references and pull requests are to be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from git_events_runner.resources.references import References

from .forges import IgnoredEvent, PullRequest, Push, same_repository, selected, watched
from .pull_requests import PullRecord
from .references import TAGS, Watched, key_of, pull_key

_MOST_KEYS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The keys to check, each with the commit announced for it, and what is to be recorded of pull requests."""

    requests: Mapping[str, str | None]
    pulls: Mapping[str, PullRecord] = field(default_factory=dict)


def choice_of(
    event: Push | PullRequest | IgnoredEvent,
    spec: Any,
    names: tuple[str, ...],
    address: Callable[[str], str],
    aliases: Mapping[str, str],
) -> Choice | IgnoredEvent:
    """What a parsed delivery requests of a WebhookTrigger's `spec`, of those of its sources; or why nothing.

    `address` is the URL of a source, `aliases` are other names of forges' hosts.
    """
    if isinstance(event, IgnoredEvent):
        return event
    mine = [name for name in names if same_repository(address(name), event.repositories, aliases=aliases)]
    if not mine and spec.webhook.match_repository:
        return IgnoredEvent(reason="no source of the trigger is the repository that was pushed to")
    watch = spec.sources.watch_on
    if isinstance(event, PullRequest):
        return _pull_request(event, watch.references, {name: address(name) for name in mine})
    chosen = mine or list(names)
    if watch.references is not None:
        return _references(event, watch.references, chosen, exact=bool(mine))
    moved = watched(event, watch.reference.type, watch.reference.name)
    if isinstance(moved, IgnoredEvent):
        return moved
    announces = bool(mine) or len(chosen) == 1
    return Choice(requests=dict.fromkeys(chosen, moved.commit if announces else None))


def _references(event: Push, references: References, sources: list[str], *, exact: bool) -> Choice | IgnoredEvent:
    """The references to check, each with the commit announced for it; of many, all of them by a list.

    So do tags of which only the highest version is watched. `exact`: the payload names the sources' repository.
    """
    patterns = Watched.of(references)
    changes = selected(event, patterns.selects)
    if isinstance(changes, IgnoredEvent):
        return changes
    listed = not event.complete or len(changes) > _MOST_KEYS
    found: dict[str, str | None] = {}
    for source in sources:
        for change in () if listed else changes:
            if patterns.versions is not None and change.reference.startswith(TAGS):
                found[source] = None
            else:
                announces = exact or len(sources) == 1
                found[key_of(source, change.reference)] = change.commit if announces else None
        if listed:
            found[source] = None
    return Choice(requests=found)


def _pull_request(
    event: PullRequest, references: References | None, sources: Mapping[str, str]
) -> Choice | IgnoredEvent:
    """The pull request to check in these sources (with their addresses), whose repository the payload names.

    The number means another pull request in another repository, maybe that of a stranger: without a source that is the
    repository there is nothing to check.
    """
    pulls = references.pull_requests if references is not None else None
    if references is None or pulls is None:
        return IgnoredEvent(reason=f"event {event.event} moves no reference")
    if event.fork and not Watched.of(references).forks:
        return IgnoredEvent(
            reason=f"pull request {event.number} is that of a fork, and pullRequests.from is {pulls.origin}"
        )
    if not sources:
        return IgnoredEvent(
            reason=f"no source of the trigger is the repository of pull request {event.number} "
            f"({', '.join(event.repositories[:2]) or 'the payload names none'}); other names of a host are given by "
            "trigger.webhook.hostAliases of the runtime config"
        )
    record = PullRecord(
        head=event.head, merge=event.merge, target=event.target, fork=event.fork, closed=event.closed, at=event.at
    )
    if not event.closed and not record.reference(merged=pulls.checkout == "Merge"):
        return IgnoredEvent(reason=f"git shows pull request {event.number} under no reference of this repository")
    pulls_of = {pull_key(source, event.number): replace(record, repository=at) for source, at in sources.items()}
    return Choice(requests=dict.fromkeys(pulls_of, None if event.closed else event.commit), pulls=pulls_of)

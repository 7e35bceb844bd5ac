"""A forge as one value: how its deliveries are verified, recognised and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from git_events_runner.rules.proofs import Request, Signature

from .fields import Wanted
from .pull import PullRequest
from .push import IgnoredEvent, Push


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """Everything that the program knows about the deliveries of a forge.

    `name` is the value of `authConfig.type`. `events` are the headers that name the event; none: the body does.
    `delivery_ids` are the headers with an id that is the same when a delivery is repeated, `own_delivery_ids` those
    that identify deliveries of this type alone; `delivery_id_of` reads the id from the body. `wanted` are the fields
    that `push_of` reads. `forms`: the JSON may come in a form.
    """

    name: str
    verify: Callable[[Request], Signature]
    events: tuple[str, ...]
    delivery_ids: tuple[str, ...]
    push_of: Callable[[str, object], Push | PullRequest | IgnoredEvent]
    wanted: Wanted
    forms: bool = False
    own_delivery_ids: tuple[str, ...] = ()
    delivery_id_of: Callable[[object], str | None] | None = None

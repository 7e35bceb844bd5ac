"""What a Job records for the queue: its concurrency, when it was admitted, and how often it was put back.

They are annotations, so that every leader decides the same, and an edited trigger does not change a Job that exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import GROUP

POLICY_ANNOTATION = f"{GROUP}/concurrency-policy"
GROUP_ANNOTATION = f"{GROUP}/concurrency-group"
LIMIT_ANNOTATION = f"{GROUP}/concurrency-limit"
SUPERSEDES_ANNOTATION = f"{GROUP}/supersedes"
START_TIMEOUT_ANNOTATION = f"{GROUP}/start-timeout-seconds"
ADMITTED_AT_ANNOTATION = f"{GROUP}/admitted-at"
REQUEUES_ANNOTATION = f"{GROUP}/requeues"
REQUEUED_AT_ANNOTATION = f"{GROUP}/requeued-at"
QUEUE_ANNOTATIONS = frozenset(
    (
        *(POLICY_ANNOTATION, GROUP_ANNOTATION, LIMIT_ANNOTATION, SUPERSEDES_ANNOTATION, START_TIMEOUT_ANNOTATION),
        *(ADMITTED_AT_ANNOTATION, REQUEUES_ANNOTATION, REQUEUED_AT_ANNOTATION),
    )
)

_LIMITED = frozenset(("Queue", "QueueLatest", "Replace"))
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyLimit:
    """How many runs of a group may run at the same time, and what happens to the others; the group is a namespace's."""

    policy: str
    group: str
    limit: int

    @classmethod
    def of(cls, annotations: Mapping[str, Any]) -> ConcurrencyLimit | None:
        """Read a Job's annotations; None: its runs may overlap.

        >>> ConcurrencyLimit.of({POLICY_ANNOTATION: "Queue", GROUP_ANNOTATION: "terraform", LIMIT_ANNOTATION: "2"})
        ConcurrencyLimit(policy='Queue', group='terraform', limit=2)
        """
        policy, group = annotations.get(POLICY_ANNOTATION), annotations.get(GROUP_ANNOTATION)
        if policy not in _LIMITED or not group:
            return None
        return cls(policy=str(policy), group=str(group), limit=max(_number(annotations.get(LIMIT_ANNOTATION)), 1))

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations for it."""
        return {
            POLICY_ANNOTATION: self.policy,
            GROUP_ANNOTATION: self.group,
            LIMIT_ANNOTATION: str(self.limit),
        }

    @property
    def keeps_latest(self) -> bool:
        """Whether a newer run of the same source supersedes a waiting one."""
        return self.policy in {"QueueLatest", "Replace"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspensions:
    """Which changes of `spec.suspend` are ours: `own` is their number, `all` that of every party's.

    `requeues` is how often a Job was put back because it did not start, `requeued_at` when (RFC 3339).
    """

    own: int
    all: int
    requeues: int
    requeued_at: str | None

    @classmethod
    def of(cls, metadata: Mapping[str, Any], *, admission: str | None, has_ttl: bool) -> Suspensions:
        """Read a Job: each change of its spec raises the generation, and those by us are recorded in annotations.

        The controller changes the TTL once, `suspend` when it admits a Job, and twice for each start that did not
        happen. Any other change is another party's.
        """
        annotations, generation = metadata.get("annotations") or {}, metadata.get("generation")
        requeues = _number(annotations.get(REQUEUES_ANNOTATION))
        changes = generation - 1 - has_ttl if isinstance(generation, int) else -1
        own = (ADMITTED_AT_ANNOTATION in annotations) + 2 * requeues - (admission == REQUEUED)
        return cls(own=own, all=changes, requeues=requeues, requeued_at=annotations.get(REQUEUED_AT_ANNOTATION))

    @property
    def are_ours(self) -> bool:
        """Whether no other party has changed the Job's spec."""
        return self.own == self.all


REQUEUED = "requeued"


def _number(value: object) -> int:
    text = value if isinstance(value, str) else ""
    return int(text) if len(text) <= _DIGITS and text.isascii() and text.isdigit() else 0


def scope_groups(trigger_kind: str, trigger: str, source: str) -> tuple[str, str]:
    """The groups that every run of a trigger's source is in: those of scope Trigger and scope Source.

    A shared group is a name without a slash.

    >>> scope_groups("WebhookTrigger", "deploy", "app")
    ('WebhookTrigger/deploy', 'WebhookTrigger/deploy/app')
    """
    return f"{trigger_kind}/{trigger}", f"{trigger_kind}/{trigger}/{source}"

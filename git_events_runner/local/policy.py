"""What the installation's policy refuses in manifests, by the rules that the controller applies, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.resources.kinds import TRIGGERS
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.policy import refusal, too_often
from git_events_runner.rules.references import any_key
from git_events_runner.rules.resolve import resolve
from git_events_runner.rules.schedule.schedule import parse_schedule
from git_events_runner.rules.strangers import forks_refused
from git_events_runner.settings.document import parse_runtime_config
from git_events_runner.settings.runtime import CONFIG_KEY, RuntimeConfig
from git_events_runner.wiring.config import policy_of

from .manifests import Loaded, Manifest

_OF_ACTION = {
    "ServiceAccountNotAllowed": "spec.actionJob.serviceAccount",
    "LabelNotAllowed": "spec.actionJob.labels",
    "AnnotationNotAllowed": "spec.actionJob.annotations",
    "ClonerImageNotAllowed": "spec.actionJob.clonerImage",
    "PodSettingNotAllowed": "spec.actionJob",
}
_OF_TRIGGER = {"ForksNotAllowed": "spec.sources.watchOn.references.pullRequests.from"}


def refusals(
    loaded: Loaded, in_cluster: Mapping[Ref, Mapping[str, Any]], config: RuntimeConfig | None
) -> Iterator[str]:
    """What the installation's policy refuses, by the rules that the controller applies."""
    manifests = {one.ref: one for one in loaded.manifests}
    policy = policy_of(_config_of(loaded.manifests) or config or RuntimeConfig())
    found = {ref: _Found.of(obj) for ref, obj in {**in_cluster, **{r: m.obj for r, m in manifests.items()}}.items()}
    seen: set[str] = set()
    for one in loaded.manifests:
        if one.ref.kind not in TRIGGERS:
            continue
        trigger: Any = parse(one.obj)
        namespace = str(one.ref.namespace)
        own = found.get(Ref("Namespace", None, namespace))
        for name in trigger.spec.sources.names:
            deletes = trigger.spec.sources.watch_on.on_delete is not None
            for deleted in (False, True) if deletes else (False,):
                resolved = resolve(trigger, any_key(trigger, name), found.get, deleted=deleted)
                if isinstance(resolved, Problem):
                    continue
                problem = refusal(policy, resolved, namespace, own.labels if own else {})
                problem = problem or forks_refused(policy.fork_pull_requests, trigger, resolved)
                if problem is not None and problem.message not in seen:
                    seen.add(problem.message)
                    yield _refused(one, problem, manifests, resolved.action)
        schedule = trigger.spec.schedule
        if schedule is not None:
            often = too_often(policy, parse_schedule(schedule.interval, schedule.cron), datetime.now(UTC))
            if often is not None:
                yield f"{one.document.at(often.field)}: {often.field}: {often.problem}"


def _refused(trigger: Manifest, problem: Problem, manifests: Mapping[Ref, Manifest], action: Ref) -> str:
    """A refusal, at the field of the Action that causes it, or of the trigger that names it."""
    field = _OF_ACTION.get(problem.reason)
    if field is not None and action in manifests:
        return f"{manifests[action].document.at(field)}: {field}: {problem.message}"
    field = _OF_TRIGGER.get(problem.reason, "spec.action.name")
    return f"{trigger.document.at(field)}: {field}: {problem.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An object as the rules read it."""

    uid: str
    generation: int
    model: Any
    invalid: InvalidObject | None
    labels: Mapping[str, str]

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> _Found:
        """Read an object; one that cannot be read is not valid."""
        metadata = obj.get("metadata") or {}
        model, invalid = None, None
        if obj.get("kind") != "Namespace":
            try:
                model = parse(obj)
            except InvalidObject as error:
                invalid = error
        return cls(uid="", generation=0, model=model, invalid=invalid, labels=metadata.get("labels") or {})


def _config_of(manifests: Iterable[Manifest]) -> RuntimeConfig | None:
    """The runtime config that the manifests have."""
    for one in manifests:
        text = (one.obj.get("data") or {}).get(CONFIG_KEY) if one.ref.kind == "ConfigMap" else None
        if isinstance(text, str):
            try:
                return parse_runtime_config(text)
            except ConfigError:
                return None
    return None

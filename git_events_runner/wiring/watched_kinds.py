"""Which objects the informers watch."""

from __future__ import annotations

from git_events_runner.flow.jobs.queue import JOB_SELECTOR
from git_events_runner.resources.kinds import KINDS, OURS, Kind
from git_events_runner.settings import Settings


def watched(settings: Settings) -> list[tuple[Kind, str | None, str | None, str | None]]:
    """What is watched: kind, namespace (None: all), label and field selector."""
    found: list[tuple[Kind, str | None, str | None, str | None]] = [(KINDS["Namespace"], None, None, None)]
    for kind in (KINDS[name] for name in (*OURS, "Job")):
        places = (settings.job_namespaces or (None,)) if kind.namespaced else (None,)
        selector = JOB_SELECTOR if kind.name == "Job" else None
        found += [(kind, namespace, selector, None) for namespace in places]
    only = f"metadata.name={settings.config_map_name}"
    found.append((KINDS["ConfigMap"], settings.namespace, None, only))
    return found

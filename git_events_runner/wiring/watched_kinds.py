"""Which objects the informers watch, and the informers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiError
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


def informers_of(
    settings: Settings, *, client: Client, store: Store, failed: Callable[[Kind, ApiError], None]
) -> dict[str, Informer]:
    """The informers by their names; `failed` is called with each failed request."""
    return {
        f"informer-{kind.name}-{namespace or 'all'}": Informer(
            client=client,
            kind=kind,
            writer=StoreWriter(store, kind.name, namespace=namespace, optional=kind.name != "ConfigMap"),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            failed=failed,
            absent=partial(store.lacks_namespace, namespace) if namespace else lambda: False,
        )
        for kind, namespace, label_selector, field_selector in watched(settings)
    }

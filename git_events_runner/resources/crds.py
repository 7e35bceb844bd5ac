"""The eight CustomResourceDefinitions, from the models alone."""

from __future__ import annotations

from typing import Any

import yaml

from .kinds import ACTIONS, GROUP, KINDS, OURS, VERSION, Kind
from .parse import MODELS
from .pod_parts import with_pod_parts
from .schema import schema_of

CATEGORY = "git-events-runner"
SHORT_NAMES: dict[str, str] = {
    "GitRepo": "gr",
    "ClusterGitRepo": "cgr",
    "Action": "act",
    "ClusterAction": "cact",
    "ScheduleTrigger": "st",
    "WebhookTrigger": "wt",
    "Notifier": "ntf",
    "ClusterNotifier": "cntf",
}
_DESCRIPTIONS: dict[str, str] = {
    "GitRepo": "A git repository, for the triggers of its namespace.",
    "ClusterGitRepo": "A git repository, for the triggers of every namespace.",
    "Action": "What runs when a trigger of its namespace fires: a Job.",
    "ClusterAction": "What runs when a trigger of any namespace fires: a Job in the trigger's namespace.",
    "ScheduleTrigger": "Checks git repositories by the clock, and runs an action when they changed.",
    "WebhookTrigger": "Checks git repositories when it is called, and runs an action when they changed.",
    "Notifier": "Reports the results of runs of its namespace: as commit status, or to a webhook.",
    "ClusterNotifier": "Reports the results of runs of every namespace, or of those that it selects.",
}
_URI = {"name": "URI", "type": "string", "jsonPath": ".spec.repoUri", "description": "where the repository is"}
_AUTH = {"name": "Auth", "type": "string", "jsonPath": ".spec.authConfig.type", "description": "kind of credential"}
_IMAGE = {"name": "Image", "type": "string", "jsonPath": ".spec.actionJob.actionImage", "description": "worker's image"}
_OVERRIDE = {
    "name": "Override",
    "type": "string",
    "jsonPath": ".spec.sourceOverride.name",
    "description": "source that is cloned instead of the one that changed",
}
_STATE = {"name": "State", "type": "string", "jsonPath": ".status.state", "description": "current trigger state"}
_LAST_RUN = {
    "name": "Last Run",
    "type": "date",
    "format": "date-time",
    "jsonPath": ".status.lastRun",
    "description": "time of last trigger run",
}
_READY = {
    "name": "Ready",
    "type": "string",
    "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    "description": "whether nothing prevents the next run",
}
_REASON = {
    "name": "Reason",
    "type": "string",
    "priority": 1,
    "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
    "description": "what prevents the next run",
}
_INTERVAL = {"name": "Interval", "type": "string", "jsonPath": ".spec.schedule.interval", "description": "interval"}
_CRON = {"name": "Cron", "type": "string", "jsonPath": ".spec.schedule.cron", "description": "cron expression"}
_MULTI = {
    "name": "Multi",
    "type": "boolean",
    "jsonPath": ".spec.webhook.multiSource",
    "description": "whether one call may check all sources",
}
_ACTION = {
    "name": "Action",
    "type": "string",
    "priority": 1,
    "jsonPath": ".spec.action.name",
    "description": "action that runs",
}
_SUSPENDED = {
    "name": "Suspended",
    "type": "boolean",
    "jsonPath": ".spec.suspend",
    "description": "whether checks are suspended",
}
_NEXT_CHECK = {
    "name": "Next Check",
    "type": "string",
    "jsonPath": ".status.nextCheck",
    "description": "next scheduled check, of schedules whose times are ten minutes or more apart",
}
_RESULT = {
    "name": "Result",
    "type": "string",
    "jsonPath": ".status.history[0].phase",
    "description": "phase of the newest run",
}
_COMMIT = {
    "name": "Commit",
    "type": "string",
    "jsonPath": ".status.history[0].commit",
    "description": "commit of the newest run, in short",
}
_RAN = {
    "name": "Ran",
    "type": "date",
    "format": "date-time",
    "jsonPath": ".status.history[0].queued",
    "description": "how long ago the Job of the newest run was created",
}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_TYPE = {"name": "Type", "type": "string", "jsonPath": ".spec.type", "description": "kind of receiver"}
_FORGE = {"name": "Forge", "type": "string", "jsonPath": ".spec.commitStatus.forge", "description": "forge"}
_RECEIVED = {**_READY, "description": "whether the receiver accepted the last message"}
_REFUSED = {**_REASON, "description": "why the receiver does not accept messages"}
_RUNS = [_STATE, _LAST_RUN, _RESULT, _COMMIT, _RAN]
_COLUMNS: dict[str, list[dict[str, Any]]] = {
    "GitRepo": [_URI, _AUTH, _AGE],
    "ClusterGitRepo": [_URI, _AUTH, _AGE],
    "Action": [_IMAGE, _OVERRIDE, _AGE],
    "ClusterAction": [_IMAGE, _OVERRIDE, _AGE],
    "ScheduleTrigger": [*_RUNS, _READY, _REASON, _SUSPENDED, _NEXT_CHECK, _INTERVAL, _CRON, _ACTION, _AGE],
    "WebhookTrigger": [*_RUNS, _READY, _REASON, _SUSPENDED, _NEXT_CHECK, _MULTI, _ACTION, _AGE],
    "Notifier": [_TYPE, _FORGE, _RECEIVED, _REFUSED, _AGE],
    "ClusterNotifier": [_TYPE, _FORGE, _RECEIVED, _REFUSED, _AGE],
}


def crds() -> list[dict[str, Any]]:
    """The eight definitions as the API server takes them, in the order of `OURS`."""
    return [_crd(KINDS[name]) for name in OURS]


def to_yaml(document: Any) -> str:
    """One YAML document without aliases, in the order given."""
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def crds_yaml() -> str:
    """The eight definitions as one YAML stream, ready for `kubectl apply --server-side -f -`."""
    return "".join("---\n" + to_yaml(crd) for crd in crds())


def _crd(kind: Kind) -> dict[str, Any]:
    model = MODELS[kind.name]
    spec, status = schema_of(model.spec), {**schema_of(model.status), "x-kubernetes-map-type": "atomic"}
    if kind.name in ACTIONS:
        with_pod_parts(spec)
    plain = {"type": "string"}
    return {
        "apiVersion": KINDS["CustomResourceDefinition"].api_version,
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [SHORT_NAMES[kind.name]],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _COLUMNS[kind.name],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": _DESCRIPTIONS[kind.name],
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": plain,
                                "kind": plain,
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                        }
                    },
                }
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes every node out."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the library's signature
        return True

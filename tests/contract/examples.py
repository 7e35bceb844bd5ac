"""Objects that contract tests write."""

from typing import Any

TRIGGER: dict[str, Any] = {
    "apiVersion": "git-events-runner.rs/v1alpha1",
    "kind": "ScheduleTrigger",
    "spec": {
        "sources": {"names": ["app"]},
        "action": {"kind": "Action", "name": "deploy"},
        "schedule": {"interval": "1h"},
    },
}
ENTRY: dict[str, Any] = {"commitHash": "a" * 40, "runs": 1, "requested": 2, "handled": 1}
JOB: dict[str, Any] = {
    "kind": "Job",
    "spec": {
        "backoffLimit": 0,
        "parallelism": 1,
        "suspend": True,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "worker", "image": "nothing", "command": ["true"]}],
            }
        },
    },
}
CONFIG: dict[str, Any] = {"kind": "ConfigMap", "data": {"a": "1"}}
LEASE: dict[str, Any] = {"kind": "Lease", "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}

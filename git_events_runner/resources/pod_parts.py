"""The parts of a pod in `spec.actionJob`, by Kubernetes' own schema.

`podschema.json` is made by tests/cluster/podschema.py from an API server's OpenAPI, so that the API server refuses in
an Action what it would refuse in its Jobs. It is that of the Kubernetes version that the tests run; a field that a
later one adds is unknown until this program is made with that version.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib.resources import files
from typing import Any

_FILE = "podschema.json"


@cache
def pod_parts() -> dict[str, Any]:
    """Structural schemas by the field of `spec.actionJob`; not to be changed."""
    return dict(json.loads(files(__package__).joinpath(_FILE).read_text(encoding="utf-8")))


def with_pod_parts(spec: dict[str, Any]) -> None:
    """Set the schema of each part in the schema of an Action's spec, in place; what describes it there stays."""
    fields = spec["properties"]["actionJob"]["properties"]
    for name, schema in pod_parts().items():
        described = {key: fields[name][key] for key in ("description", "nullable")}
        fields[name] = {**described, **copy.deepcopy(schema)}

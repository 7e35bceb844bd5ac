"""From a model's JSON schema to the structural schema that a CustomResourceDefinition takes.

Rules: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
What a structural schema cannot express is refused here, when the CRDs are generated.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

_REFUSED = frozenset(
    {
        "prefixItems",
        "patternProperties",
        "if",
        "then",
        "else",
        "dependentSchemas",
        "dependentRequired",
        "unevaluatedProperties",
        "propertyNames",
        "contains",
        "discriminator",
        "oneOf",
    }
)
_ANNOTATIONS = ("title", "examples", "$defs", "additionalProperties")


class NotStructural(Exception):
    """A model uses what a structural schema cannot express; the message names the path."""


def schema_of(model: type[Any]) -> dict[str, Any]:
    """The structural schema of a model, with its descriptions, limits, defaults and rules.

    Raises:
        NotStructural: The model cannot be expressed.
    """
    complete = TypeAdapter(model).json_schema(by_alias=True)
    return structural(complete, complete.get("$defs", {}), model.__name__)


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """One node and what is below it; `definitions` are the schemas that references point to.

    Raises:
        NotStructural: A node cannot be expressed.
    """
    node = _resolved(copy.deepcopy(dict(schema)), definitions, path)
    if refused := _REFUSED & node.keys():
        raise NotStructural(f"{path}: {', '.join(sorted(refused))} cannot be expressed")
    values = node.pop("additionalProperties", None)
    _plain(node)
    if "properties" in node:
        below = node["properties"].items()
        node["properties"] = {name: structural(value, definitions, f"{path}.{name}") for name, value in below}
    elif values is True:
        node["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(values, Mapping):
        node["additionalProperties"] = structural(values, definitions, f"{path}.*")
    if "items" in node:
        node["items"] = structural(node["items"], definitions, f"{path}[]")
    if "type" not in node:
        raise NotStructural(f"{path}: has no type")
    return node


def _plain(node: dict[str, Any]) -> None:
    """Without titles and empty defaults, with constants and whole numbers as Kubernetes writes them."""
    for name in _ANNOTATIONS:
        node.pop(name, None)
    if node.get("default", 0) in (None, [], ""):
        del node["default"]
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("type") == "integer":
        node.setdefault("format", "int64")


def _resolved(node: dict[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """References inlined, and `X or null` as a nullable X (unless the model has `nullable: false`)."""
    if "$ref" in node:
        name = node.pop("$ref").rpartition("/")[2]
        node = {**copy.deepcopy(definitions[name]), **node}
    if "anyOf" in node:
        alternatives = [one for one in node.pop("anyOf") if one.get("type") != "null"]
        if len(alternatives) != 1:
            raise NotStructural(f"{path}: a union of types cannot be expressed; model it as fields of which one is set")
        nullable = node.pop("nullable", True)
        node = _resolved({**alternatives[0], **node}, definitions, path)
        if nullable:
            node["nullable"] = True
    return node

"""Which namespaces may use an object that has none: names, and a label selector as Kubernetes' own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import core_schema

from .part import PART, Name, Part, Text, TextMap

_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Requirement(Part):
    """One condition on a label."""

    key: Text = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How the label is compared.")
    values: Annotated[tuple[Text, ...], Field(max_length=_MOST)] | None = Field(
        default=None, description="Values to compare with, for In and NotIn."
    )

    @model_validator(mode="after")
    def _values_as_the_operator_wants(self) -> Self:
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            wanted = "needs values" if self.operator in {"In", "NotIn"} else "takes no values"
            raise ValueError(f"operator {self.operator} {wanted}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The JSON schema, with the validator above as a rule of the API server."""
        found = handler.resolve_ref_schema(handler(schema))
        rule = "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)"
        message = "In and NotIn need values, Exists and DoesNotExist take none"
        found["x-kubernetes-validations"] = [{"rule": rule, "message": message}]
        found["properties"]["values"]["nullable"] = False
        return found

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fulfil it."""
        found = labels.get(self.key)
        match self.operator:
            case "In":
                return found is not None and found in (self.values or ())
            case "NotIn":
                return found is None or found not in (self.values or ())
            case "Exists":
                return found is not None
            case "DoesNotExist":
                return found is None


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class LabelSelector(Part):
    """Labels of namespaces; an empty selector selects every one."""

    match_labels: TextMap | None = Field(default=None, description="Labels that must have these values.")
    match_expressions: Annotated[tuple[Requirement, ...], Field(max_length=_MOST)] | None = Field(
        default=None, description="Further conditions; all must hold."
    )

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether labels are selected (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)."""
        same = all(labels.get(key) == value for key, value in (self.match_labels or {}).items())
        return same and all(requirement.accepts(labels) for requirement in self.match_expressions or ())


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class AllowedNamespaces(Part):
    """Namespaces whose triggers may use the object: those named, and those selected. Neither given: none."""

    names: Annotated[tuple[Name, ...], Field(max_length=_MOST)] | None = Field(
        default=None, description="Names of namespaces, in addition to those that `selector` selects."
    )
    selector: LabelSelector | None = Field(default=None, description="Labels of namespaces; `{}` selects every one.")

    def allow(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether triggers of that namespace may use the object."""
        return namespace in (self.names or ()) or (self.selector is not None and self.selector.accepts(labels))

"""A rule for a text: a pattern that it must or must not match, and what to write instead.

One value gives the model its check and the CRD its CEL rule, so that the API server and the controller enforce the
same. Patterns are RE2's (https://github.com/google/re2/wiki/Syntax), in the part that Python's `re` has as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    r"""A pattern that means to Python what it means to RE2: ASCII classes, and `$` is the end of the text.

    >>> bool(compiled(r"^a$").search("a\n")), bool(compiled(r"^[$]$").search("$"))
    (False, True)
    """
    ends = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]|\$")
    return re.compile(ends.sub(lambda found: r"\Z" if found[0] == "$" else found[0], pattern), re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a text must match (or, `forbidden`, must not), and the message for one that breaks it.

    `in_model`: the model refuses it, too; else only the API server does, and the code that reads the text checks more.
    """

    pattern: str
    message: str
    forbidden: bool = False
    in_model: bool = True

    def holds(self, text: str) -> bool:
        """Whether a text keeps it."""
        return (compiled(self.pattern).search(text) is None) == self.forbidden

    @property
    def as_json(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        return {"rule": f"{'!' if self.forbidden else ''}self.matches(r'{self.pattern}')", "message": self.message}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """The text, checked."""
        inner = handler(source)
        return core_schema.no_info_after_validator_function(self._checked, inner) if self.in_model else inner

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The text's schema, with this rule after those that it has."""
        found: dict[str, Any] = handler(schema)
        rules = [*found.get("x-kubernetes-validations", ()), self.as_json]
        return found | {"x-kubernetes-validations": rules}

    def _checked(self, text: str) -> str:
        if not self.holds(text):
            raise ValueError(self.message)
        return text

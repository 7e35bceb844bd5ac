"""The part of CEL (https://github.com/google/cel-spec) that the rules in our own CRDs use.

`has(a.b)`, `self`, field access, string, number and boolean literals, lists, `size()`, `in`, `==`, `!=`, comparisons,
`!`, `&&`, `||`, `? :`, parentheses, and the methods `exists_one`, `all`, `exists`, `filter`, `matches`, `startsWith`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from git_events_runner.resources.rule import compiled

Scope = dict[str, Any]
Expression = Callable[[Scope], Any]
_TOKEN = re.compile(
    r"\s*(?:(?P<text>r?\"(?:[^\"\\]|\\.)*\"|r?'(?:[^'\\]|\\.)*')|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||==|!=|<=|>=|[-+<>!?:.,()\[\]]))"
)


def holds(rule: str, value: Any) -> bool:
    """Whether a rule holds for `self` = value; an evaluation error counts as not, as in the API server.

    >>> holds("has(self.a) != has(self.b)", {"a": 1})
    True
    >>> holds("size(self) <= 2 && self.all(x, x.startsWith('a'))", ["a", "b"])
    False
    """
    try:
        return _parse(rule)({"self": value}) is True
    except (KeyError, TypeError, IndexError):
        return False


@lru_cache(maxsize=256)
def _parse(rule: str) -> Expression:
    parser = _Parser(rule)
    expression = parser.ternary()
    if parser.token:
        raise ValueError(f"CEL rule {rule!r}: {parser.token!r} is beyond the part that is understood here")
    return expression


class _Parser:
    """Recursive descent over the tokens of one rule."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._tokens: list[str] = []
        position = 0
        while position < len(rule.rstrip()):
            match = _TOKEN.match(rule, position)
            if match is None:
                raise ValueError(f"CEL rule {rule!r}: cannot read {rule[position:]!r}")
            self._tokens.append(match[0].strip())
            position = match.end()
        self._at = 0

    @property
    def token(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next_token(self) -> str:
        token = self.token
        self._at += 1
        return token

    def _accept(self, *tokens: str) -> str:
        return self._next_token() if self.token in tokens and self.token else ""

    def _expect(self, token: str) -> None:
        if self._next_token() != token:
            raise ValueError(f"CEL rule {self._rule!r}: {token!r} expected")

    def ternary(self) -> Expression:
        condition = self._either()
        if not self._accept("?"):
            return condition
        yes = self.ternary()
        self._expect(":")
        no = self.ternary()
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    def _either(self) -> Expression:
        left = self._both()
        while self._accept("||"):
            left = _or(left, self._both())
        return left

    def _both(self) -> Expression:
        left = self._relation()
        while self._accept("&&"):
            left = _and(left, self._relation())
        return left

    def _relation(self) -> Expression:
        left = self._sum()
        operator = self._accept("==", "!=", "<=", ">=", "<", ">", "in")
        return _compare(operator, left, self._sum()) if operator else left

    def _sum(self) -> Expression:
        left = self._unary()
        while operator := self._accept("+", "-"):
            left = _plus(left, self._unary()) if operator == "+" else _minus(left, self._unary())
        return left

    def _unary(self) -> Expression:
        if self._accept("!"):
            inner = self._unary()
            return lambda scope: not inner(scope)
        return self._postfix(self._primary())

    def _primary(self) -> Expression:
        if self._accept("("):
            inner = self.ternary()
            self._expect(")")
            return inner
        if self._accept("["):
            items = self._arguments("]")
            return lambda scope: [item(scope) for item in items]
        token = self._next_token()
        if token[:1] in {'"', "'"} or token[:2] in {'r"', "r'"} or token[:1].isdigit():
            literal = ast.literal_eval(token)
            return lambda _: literal
        if token in {"true", "false", "null"}:
            constant = {"true": True, "false": False, "null": None}[token]
            return lambda _: constant
        if token in {"has", "size"} and self._accept("("):
            (argument,) = self._arguments(")")
            return _has(argument) if token == "has" else lambda scope: len(argument(scope))  # noqa: S105  a CEL word
        if not token.isidentifier():
            raise ValueError(f"CEL rule {self._rule!r}: {token!r} not understood")
        return lambda scope: scope[token]

    def _arguments(self, end: str) -> list[Expression]:
        found: list[Expression] = []
        while not self._accept(end):
            found.append(self.ternary())
            self._accept(",")
        return found

    def _postfix(self, inner: Expression) -> Expression:
        while sign := self._accept(".", "["):
            if sign == "[":
                index = self.ternary()
                self._expect("]")
                inner = _item(inner, index)
                continue
            name = self._next_token()
            inner = self._method(inner, name) if self._accept("(") else _field(inner, _unescaped(name))
        return inner

    def _method(self, inner: Expression, name: str) -> Expression:
        if name in {"all", "exists", "exists_one", "filter"}:
            variable = self._next_token()
            self._expect(",")
            (test,) = self._arguments(")")
            return _macro(name, inner, variable, test)
        arguments = self._arguments(")")
        if name == "size":
            return lambda scope: len(inner(scope))
        operations: dict[str, Callable[[str, str], bool]] = {
            "startsWith": str.startswith,
            "endsWith": str.endswith,
            "contains": str.__contains__,
            "matches": lambda text, pattern: compiled(pattern).search(text) is not None,
        }
        operation = operations[name]
        return lambda scope: operation(inner(scope), arguments[0](scope))


def _or(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) or right(scope)


def _and(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) and right(scope)


def _plus(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) + right(scope)


def _minus(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) - right(scope)


def _compare(operator: str, left: Expression, right: Expression) -> Expression:
    operations: dict[str, Callable[[Any, Any], bool]] = {
        "==": lambda one, other: one == other,
        "!=": lambda one, other: one != other,
        "<": lambda one, other: one < other,
        ">": lambda one, other: one > other,
        "<=": lambda one, other: one <= other,
        ">=": lambda one, other: one >= other,
        "in": lambda one, other: one in other,
    }
    operation = operations[operator]
    return lambda scope: operation(left(scope), right(scope))


def _unescaped(name: str) -> str:
    """The name of a field; Kubernetes writes one that is a word of CEL between two underscores.

    >>> _unescaped("__true__"), _unescaped("__x")
    ('true', '__x')
    """
    word = name.removeprefix("__").removesuffix("__")
    return word if name == f"__{word}__" and word in {"true", "false", "null", "in"} else name


def _field(inner: Expression, name: str) -> Expression:
    return lambda scope: inner(scope)[name]


def _item(inner: Expression, index: Expression) -> Expression:
    return lambda scope: inner(scope)[index(scope)]


def _has(inner: Expression) -> Expression:
    def test(scope: Scope) -> bool:
        try:
            return inner(scope) is not None
        except KeyError:
            return False

    return test


def _macro(name: str, inner: Expression, variable: str, test: Expression) -> Expression:
    def run(scope: Scope) -> Any:
        chosen = [item for item in inner(scope) if test({**scope, variable: item})]
        match name:
            case "all":
                return len(chosen) == len(inner(scope))
            case "exists":
                return bool(chosen)
            case "exists_one":
                return len(chosen) == 1
        return chosen

    return run

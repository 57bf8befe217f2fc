"""What a PromQL expression asks for, with promql-parser, which follows Prometheus' own grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exporter.compare.pages import Labels

if TYPE_CHECKING:
    from types import ModuleType

# Prometheus has these from the target, whatever the page says.
TARGET_LABELS = frozenset({"job", "instance"})
# Grafana's variables for spans of time.
_SPAN = re.compile(r"\$(?:__(?:rate_)?interval|__range)\b|\$\{__(?:rate_)?interval(?::\w+)?\}|\$\{__range(?::\w+)?\}")
_SPAN_VARIABLE = re.compile(r"\[\s*(?:\$\{?\w+(?::\w+)?\}?|\[\[\w+\]\])\s*(\]|:)")
_VARIABLE = re.compile(r"\$\{\w+(?:\.\w+)?(?::\w+)?\}|\$\w+|\[\[\w+(?::\w+)?\]\]")
# As a part of a name.
_NAME_VARIABLE = re.compile(rf"(?<=[a-zA-Z_:])(?:{_VARIABLE.pattern})|(?:{_VARIABLE.pattern})(?=[_:])")
_LABEL_LIST = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)(\s*)\(([^)]*)\)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
# What stands for a variable's name in a list of labels, and in a metric's name.
PLACEHOLDER = "grafana_variable"


class ParserMissingError(Exception):
    """The parser is not installed."""


@dataclass(frozen=True)
class Matcher:
    """A label matcher; `value` may hold a variable of a dashboard."""

    label: str
    operator: str
    value: str

    def matches(self, labels: Labels) -> bool:
        """Whether a series passes; what only a dashboard's user decides lets everything with the label pass."""
        if self.label in TARGET_LABELS:
            return True
        have = dict(labels).get(self.label, "")
        if _VARIABLE.search(self.value):
            return bool(have)
        if self.operator in ("=", "!="):
            return (have == self.value) == (self.operator == "=")
        try:
            found = re.fullmatch(self.value, have) is not None
        except re.error:
            # Go's expressions know a few things that Python's don't.
            return True
        return found == (self.operator == "=~")


@dataclass(frozen=True)
class Selector:
    """A metric and its matchers."""

    metric: str
    matchers: tuple[Matcher, ...]


def parser() -> ModuleType:
    """The parser.

    Raises:
        ParserMissingError: It is not installed.
    """
    try:
        import promql_parser  # noqa: PLC0415 - the exporter itself does not need it
    except ImportError:
        raise ParserMissingError(
            "reading PromQL needs the package promql-parser: pip install 'database-exporter[compare]'"
        ) from None
    return promql_parser


def parse(expression: str) -> Any:
    """The tree of an expression, which may hold Grafana's variables.

    Raises:
        ValueError: It is not PromQL.
        ParserMissingError: See `parser`.
    """
    return parser().parse(without_variables(expression))


def without_variables(expression: str) -> str:
    """The expression with something in place of Grafana's variables; those inside strings stay."""
    text = _SPAN.sub("5m", expression)
    text = _SPAN_VARIABLE.sub(r"[5m\1", text)
    text = _LABEL_LIST.sub(
        lambda found: f"{found[1]}{found[2]}({_VARIABLE.sub(PLACEHOLDER, found[3])})",
        text,
    )
    parts, end = [], 0
    for string in _STRING.finditer(text):
        parts += [_number(text[end : string.start()]), string[0]]
        end = string.end()
    return "".join([*parts, _number(text[end:])])


def _number(text: str) -> str:
    return _VARIABLE.sub("1", _NAME_VARIABLE.sub(PLACEHOLDER, text))


def has_variable(expression: str) -> bool:
    """Whether one of Grafana's variables, but for spans of time, stands outside of strings."""
    return _VARIABLE.search(_STRING.sub("", _SPAN.sub("", expression))) is not None


def selector(node: Any) -> Selector:
    """What a VectorSelector selects."""
    matchers = [Matcher(item.name, _operator(item), item.value) for item in node.matchers.matchers]
    name = node.name or next((item.value for item in matchers if item.label == "__name__" and item.operator == "="), "")
    return Selector(name, tuple(item for item in matchers if item.label != "__name__" or not name))


def children(node: Any) -> Iterator[Any]:
    """The expressions directly below one."""
    module = parser()
    if isinstance(node, module.BinaryExpr):
        yield from (node.lhs, node.rhs)
    elif isinstance(node, module.Call):
        yield from node.args
    elif isinstance(node, module.AggregateExpr):
        yield node.expr
        if node.param is not None:
            yield node.param
    elif isinstance(node, module.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, (module.SubqueryExpr, module.ParenExpr, module.UnaryExpr)):
        yield node.expr


def walk(node: Any) -> Iterator[Any]:
    """An expression and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def selectors(node: Any) -> list[Selector]:
    """All selectors of an expression."""
    module = parser()
    return [selector(item) for item in walk(node) if isinstance(item, module.VectorSelector)]


def _operator(matcher: Any) -> str:
    return {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[str(matcher.op).rpartition(".")[2]]

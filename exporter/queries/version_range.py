"""Ranges of versions as postgres_exporter's `runonserver` has them: `>=10.0.0 <12.0.0 || >=13.0.0`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from exporter.facts import Facts
from exporter.gates import Gate, condition

Version = tuple[int, ...]
_PLAIN = re.compile(r"(>=|<=|!=|==|[<>=!])?\s*(\d+)(?:\.(\d+|[xX]))?(?:\.(\d+|[xX]))?")
_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
    "=": operator.eq, "==": operator.eq, "!": operator.ne, "!=": operator.ne,
}  # fmt: skip


def version_range(text: str) -> Gate:
    """The gate of a range: blanks mean and, || means or. Raises ValueError."""
    alternatives = [[_test(term) for term in _terms(part)] for part in text.split("||")]

    def test(facts: Facts) -> bool:
        version = (*facts.version, 0, 0, 0)[:3]
        return any(all(each(version) for each in tests) for tests in alternatives)

    return condition(f"PostgreSQL {' '.join(text.split())}", test)


def _terms(text: str) -> list[str]:
    # A blank may stand between an operator and its version.
    terms = re.sub(r"([<>=!])\s+", r"\1", text).split()
    if not terms:
        raise ValueError('must be a range of versions such as ">=10.0.0 <12.0.0"')
    return terms


def _test(term: str) -> Callable[[Version], bool]:
    match = _PLAIN.fullmatch(term)
    if match is None:
        raise ValueError('must be a range of versions such as ">=10.0.0 <12.0.0"')
    sign, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None and part.isdecimal()]
    low = (*numbers, 0, 0, 0)[:3]
    if len(numbers) == 3:
        compare = _COMPARE[sign or "="]
        return lambda version: compare(version, low)
    # 14, 14.x: all versions that begin so.
    high = (*numbers[:-1], numbers[-1] + 1, 0, 0)[:3]
    return {
        ">": lambda version: version >= high,
        ">=": lambda version: version >= low,
        "<": lambda version: version < low,
        "<=": lambda version: version < high,
        "!": lambda version: not low <= version < high,
        "!=": lambda version: not low <= version < high,
    }.get(sign, lambda version: low <= version < high)

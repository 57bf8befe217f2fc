"""What becomes of an expression when one page takes the other's place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from exporter.compare import promql
from exporter.compare.deviations import Difference
from exporter.compare.pages import Labels, Page
from exporter.compare.questions import Question
from exporter.compare.series import SERVER, Comparison, Reading, added_labels

_SERVER = "server"


class Verdict(StrEnum):
    """What becomes of an expression."""

    SAME = "same"
    CHANGED = "changed"
    # It has an answer now, and will have none.
    DEAD = "dead"
    # It has none now: its metrics are on neither page (misspelt, gone with a version, another exporter's), or its sides
    # do not match.
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Judgement:
    """An expression and what becomes of it.

    Attributes:
        question: The expression.
        verdict: See Verdict.
        reasons: Why, as sentences.
        deliberate: Every reason is a difference that is meant.
    """

    question: Question
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    deliberate: bool = False


def judge(
    questions: Sequence[Question], reading: Reading, comparison: Comparison, known: Callable[[str], bool]
) -> list[Judgement]:
    """Judge every expression by the last reading and by what differed in all of them.

    Args:
        questions: The expressions.
        reading: Theirs, and ours after it.
        comparison: Of all readings.
        known: Whether ours has a metric of this name when there is something to show.
    """
    recorded = {question.record for question in questions if question.record}
    differences: dict[str, list[Difference]] = {}
    for item in comparison.differences:
        differences.setdefault(item.metric, []).append(item)
    pages = _Pages(reading.theirs, reading.after, differences, recorded, known)
    return [_judged(question, pages) for question in questions]


@dataclass(frozen=True)
class _Pages:
    theirs: Page
    ours: Page
    differences: Mapping[str, Sequence[Difference]]
    recorded: set[str]
    known: Callable[[str], bool]


@dataclass
class _Found:
    """What is seen on the way through one expression."""

    reasons: dict[str, bool] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, text: str, *, deliberate: bool = False) -> None:
        self.reasons[text] = self.reasons.get(text, True) and deliberate


@dataclass(frozen=True)
class _State:
    """A part of an expression on the two pages, theirs first: has it series, and these the label `server`?

    A number has series and neither label nor none.
    """

    alive: tuple[bool, bool] = (True, True)
    server: tuple[bool, bool] | None = None


_NUMBER = _State()
# A series of another exporter, or of Prometheus itself.
_FOREIGN = _State(server=(False, False))
_NOTHING = _State((False, False), (False, False))
_NATIVE = ("pg_", "mysql_")
_VARIABLE = "what is asked for stands in a variable of the dashboard"


def _judged(question: Question, pages: _Pages) -> Judgement:
    if question.elsewhere:
        return Judgement(question, Verdict.UNKNOWN, (question.elsewhere,))
    variable = promql.has_variable(question.expression)
    try:
        tree = promql.parse(question.expression)
    except (ValueError, RecursionError) as error:
        if not variable:
            return Judgement(question, Verdict.UNREADABLE, (f"no PromQL: {str(error).splitlines()[0]}",))
        tree = None
    if tree is None or (variable and not promql.selectors(tree)):
        return Judgement(question, Verdict.UNKNOWN, (_VARIABLE,))
    return _of_tree(question, tree, pages)


def _of_tree(question: Question, tree: Any, pages: _Pages) -> Judgement:
    found = _Found()
    mentioned = _labels(tree) | ({question.label} if question.label else set())
    state = _Walk(pages, found, mentioned).visit(tree)
    if question.label and question.label not in promql.TARGET_LABELS:
        _label_values(question.label, tree, pages, found)
    reasons = tuple(found.reasons)
    deliberate = bool(reasons) and all(found.reasons.values())
    if state.alive == (True, False):
        return Judgement(question, Verdict.DEAD, reasons, deliberate)
    if reasons:
        return Judgement(question, Verdict.CHANGED, reasons, deliberate)
    if found.unknown:
        return Judgement(question, Verdict.UNKNOWN, tuple(dict.fromkeys(found.unknown)))
    return Judgement(question, Verdict.SAME)


class _Walk:
    """Goes through an expression from its leaves up."""

    def __init__(self, pages: _Pages, found: _Found, mentioned: set[str]) -> None:
        self.pages = pages
        self.found = found
        self.mentioned = mentioned
        self.promql = promql.parser()

    def visit(self, node: Any) -> _State:
        if isinstance(node, self.promql.VectorSelector):
            return self._selector(promql.selector(node))
        if isinstance(node, self.promql.BinaryExpr):
            return self._binary(node)
        states = [self.visit(child) for child in promql.children(node)]
        if isinstance(node, self.promql.AggregateExpr):
            return self._aggregate(node, states[0])
        if isinstance(node, self.promql.Call) and node.func.name.startswith("absent"):
            return _FOREIGN
        return _together([state for state in states if state.server is not None])

    def _selector(self, selector: promql.Selector) -> _State:
        if promql.PLACEHOLDER in selector.metric:
            self.found.unknown.append(_VARIABLE)
            return _NUMBER
        metrics = self._metrics(selector)
        if not metrics:
            name = selector.metric or _pattern(selector)
            self.found.unknown.append(f"no metric {name} on either page")
            # What the other exporter would show is gone; anything else may well be there.
            return _NOTHING if name.startswith(_NATIVE) else _FOREIGN
        states = [self._metric(metric, selector.matchers) for metric in metrics]
        return _State(_any(state.alive for state in states), _any(state.server or (False, False) for state in states))

    def _metrics(self, selector: promql.Selector) -> list[str]:
        every = {*self.pages.theirs.metrics, *self.pages.ours.metrics}
        if selector.metric:
            there = selector.metric in every | self.pages.recorded or self.pages.known(selector.metric)
            return [selector.metric] if there else []
        pattern = _pattern(selector)
        try:
            named = sorted(metric for metric in every if re.fullmatch(pattern, metric))
            return [metric for metric in named if _selected(self.pages.theirs, metric, selector.matchers)]
        except re.error:
            return []

    def _metric(self, metric: str, matchers: Sequence[promql.Matcher]) -> _State:
        if metric in self.pages.recorded:
            return _FOREIGN
        pages = (self.pages.theirs, self.pages.ours)
        there, here = (metric in page.metrics for page in pages)
        # No number is no answer: every comparison with it is false.
        alive = tuple(not all(map(math.isnan, _selected(page, metric, matchers).values())) for page in pages)
        for item in self.pages.differences.get(metric, ()):
            if _touches(item, matchers, self.mentioned):
                self._because(item, here=here)
        if not there:
            what = "is here and not on their page" if here else "shows nothing on either page now"
            self.found.unknown.append(f"{metric} {what}")
        elif alive == (True, False) and not self.found.reasons:
            self.found.add(f"{metric}: none of its series here has the labels that it is selected by")
        with_server = tuple(_SERVER in page.labels(metric) for page in pages)
        return _State((alive[0], alive[1]), (with_server[0], with_server[1]))

    def _because(self, item: Difference, *, here: bool) -> None:
        deviation = item.deviation
        if deviation is not None:
            text = f"{item.metric}: {deviation.theirs} there, here {deviation.ours}; {deviation.why}"
        elif item.aspect == "missing":
            text = f"{item.metric}: {'some series are' if here else 'is'} missing here"
        elif item.aspect == "more":
            text = f"{item.metric}: has more series here"
        else:
            text = f"{item.metric}: {item.theirs} there, here {item.ours}"
        self.found.add(text, deliberate=deviation is not None)

    def _aggregate(self, node: Any, inner: _State) -> _State:
        labels = set(node.modifier.labels) if node.modifier is not None else set()
        by = node.modifier is None or str(node.modifier.type).endswith("By")
        # These choose among series and leave them as they are.
        chooses = str(node.op) in ("topk", "bottomk", "limitk", "limit_ratio")
        if chooses or (_SERVER in labels) == by:
            return inner
        return _State(inner.alive, (False, False))

    def _binary(self, node: Any) -> _State:
        left, right = self.visit(node.lhs), self.visit(node.rhs)
        if left.server is None or right.server is None:
            return right if left.server is None else left
        matching = node.modifier.matching if node.modifier is not None else None
        labels = set(matching.labels) if matching is not None else set()
        on = matching is not None and str(matching.type).endswith("Include")
        operator = str(node.op).lower()
        kept = left.server if not on or node.modifier.group_labels is not None else (_SERVER in labels,) * 2
        if operator == "or":
            return _State(_any((left.alive, right.alive)), kept)
        alive = left.alive if operator == "unless" else _together((left, right)).alive
        if (_SERVER in labels) != on:
            return _State(alive, kept)
        # Without both or neither having the label no series of one side finds one of the other.
        there, here = (one == other for one, other in zip(left.server, right.server, strict=True))
        if alive[0] and there and not here:
            self.found.add("one side of a join has the label server here and the other has not: join on(instance)")
        if not there:
            self.found.unknown.append("one side of a join has the label server on their page and the other has not")
        matched = (True, True) if operator == "unless" else (there, here)
        return _State((alive[0] and matched[0], alive[1] and matched[1]), kept)


def _any(states: Iterable[tuple[bool, bool]]) -> tuple[bool, bool]:
    theirs, ours = zip(*states, strict=True)
    return any(theirs), any(ours)


def _together(states: Sequence[_State]) -> _State:
    """All of them at once."""
    if not states:
        return _NUMBER
    alive = all(state.alive[0] for state in states), all(state.alive[1] for state in states)
    return _State(alive, _any(state.server or (False, False) for state in states))


def _selected(page: Page, metric: str, matchers: Sequence[promql.Matcher]) -> dict[Labels, float]:
    return {
        labels: value
        for labels, value in page.metrics.get(metric, {}).items()
        if all(matcher.matches(labels) for matcher in matchers if matcher.label != "__name__")
    }


def _touches(item: Difference, matchers: Sequence[promql.Matcher], mentioned: set[str]) -> bool:
    """Whether a difference is about what is selected."""
    if item.aspect == "type":
        return False
    if item.aspect == "label" and not item.labels:
        # A label more or less changes the answer of whoever names it; one that is lacking, of everybody.
        return str(item.ours) == "has not" or any(label in str(item.theirs).split() for label in mentioned)
    labels = frozenset(item.labels.items())
    apart = ("__name__", *added_labels(item.labels))
    return all(matcher.matches(labels) for matcher in matchers if matcher.label not in apart)


def _labels(tree: Any) -> set[str]:
    """Every label that an expression names."""
    module = promql.parser()
    found: set[str] = set()
    for node in promql.walk(tree):
        if isinstance(node, module.VectorSelector):
            found |= {matcher.label for matcher in promql.selector(node).matchers}
        elif isinstance(node, module.AggregateExpr) and node.modifier is not None:
            found |= set(node.modifier.labels)
        elif isinstance(node, module.BinaryExpr) and node.modifier is not None:
            found |= set(node.modifier.matching.labels if node.modifier.matching else ())
            found |= set(node.modifier.group_labels or ())
    return found - {promql.PLACEHOLDER}


def _label_values(label: str, tree: Any, pages: _Pages, found: _Found) -> None:
    for selector in promql.selectors(tree):
        theirs = {dict(labels).get(label) for labels in _selected(pages.theirs, selector.metric, selector.matchers)}
        ours = {dict(labels).get(label) for labels in _selected(pages.ours, selector.metric, selector.matchers)}
        if label == SERVER and theirs != {None} and ours:
            found.add(f"values of {label} are the names of servers in our config", deliberate=True)
        elif lost := sorted(value for value in theirs - ours if value):
            found.add(f"{selector.metric} has no {label} {', '.join(lost[:5])} here")


def _pattern(selector: promql.Selector) -> str:
    return next((item.value for item in selector.matchers if item.label == "__name__"), ".*")

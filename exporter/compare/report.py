"""What a comparison found, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.text import Text

from exporter.compare.deviations import Aspect, Deviation, Difference
from exporter.compare.expressions import Judgement, Verdict
from exporter.compare.series import Comparison, Moved
from exporter.registry import collectors_by_name

_SHOWN = 5
_ASPECTS: dict[Aspect, str] = {
    "missing": "missing here",
    "value": "another value",
    "label": "other labels",
    "type": "another type",
    "more": "more series here",
}
_VERDICTS = {
    Verdict.DEAD: ("would have no answer any more", "bold red"),
    Verdict.CHANGED: ("would have another answer", "red"),
    Verdict.UNREADABLE: ("can't be read", "red"),
    Verdict.UNKNOWN: ("have no answer from the old page either", "yellow"),
    Verdict.SAME: ("stay as they are", "green"),
}


@dataclass(frozen=True)
class Report:
    """Everything that was found.

    Attributes:
        server: The server's name in our config.
        comparison: Of the series.
        judgements: Of the expressions.
        states: The state of each of our collectors.
    """

    server: str
    comparison: Comparison
    judgements: Sequence[Judgement]
    states: dict[str, str]

    @property
    def clean(self) -> bool:
        """Whether nothing differs that is not meant to, and no expression loses its answer."""
        bad = (Verdict.DEAD, Verdict.CHANGED, Verdict.UNREADABLE)
        return not self.comparison.unexplained() and not any(
            item.verdict in bad and not (item.deliberate and item.verdict is Verdict.CHANGED)
            for item in self.judgements
        )

    def document(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "server": self.server,
            "clean": self.clean,
            "metrics": self.comparison.metrics,
            "series": self.comparison.series,
            "series_that_came_and_went": self.comparison.passing,
            "moved": [asdict(item) for item in self.comparison.moved],
            "differences": [_plain(item) for item in self.comparison.differences],
            "expressions": [
                asdict(item.question)
                | {"verdict": str(item.verdict), "reasons": item.reasons, "deliberate": item.deliberate}
                for item in self.judgements
            ],
        }

    def text(self) -> Text:
        """Everything in words."""
        out = Text()
        found = self.comparison
        unexplained, deliberate = found.unexplained(), found.deliberate()
        out.append(f"{self.server}", "bold")
        out.append(f": {found.metrics} metrics, {found.series} series of the old page compared")
        out.append(f", {found.passing} came and went meanwhile\n" if found.passing else "\n")
        if unexplained:
            out.append("\ndifferent\n", "bold red")
        for aspect, text in _ASPECTS.items():
            self._aspect(out, text, [item for item in unexplained if item.aspect == aspect])
        if deliberate:
            out.append("\ndifferent on purpose\n", "bold yellow")
            _deliberate(out, deliberate)
        if found.moved:
            out.append("\nmoved, and read in the background here\n", "bold")
            _moved(out, found.moved)
        if not found.differences and not found.moved:
            out.append("nothing differs\n", "green")
        self._expressions(out)
        return out

    def _aspect(self, out: Text, text: str, items: Sequence[Difference]) -> None:
        for metric in dict.fromkeys(item.metric for item in items):
            mine = [item for item in items if item.metric == metric]
            out.append(f"  {metric}", "bold")
            if metric in self.comparison.absent:
                out.append(f"  {text}, {len(mine)} series{self._hint(metric)}\n")
                continue
            out.append(f"  {text}\n")
            for item in mine[:_SHOWN]:
                out.append(f"    {_series(item)}\n")
            if len(mine) > _SHOWN:
                out.append(f"    and {len(mine) - _SHOWN} more\n", "dim")

    def _hint(self, metric: str) -> str:
        """What to do about a metric that ours would have."""
        collector = next(
            (item for item in collectors_by_name().values() if metric in {one.name for one in item.measures()}), None
        )
        if collector is None:
            return ""
        state = self.states.get(collector.name)
        if state == "disabled":
            return f"; it is in the collector {collector.name}, which is off: switch it on under collectors:"
        if state not in (None, "ok"):
            return f"; its collector {collector.name} is {state}: database-exporter check says why"
        return ""

    def _expressions(self, out: Text) -> None:
        if not self.judgements:
            return
        out.append("\nrules and dashboards\n", "bold")
        count = Counter(item.verdict for item in self.judgements)
        for verdict, (text, style) in _VERDICTS.items():
            mine = [item for item in self.judgements if item.verdict is verdict]
            if not mine:
                continue
            out.append(f"  {count[verdict]} {text}\n", style)
            if verdict is Verdict.SAME:
                continue
            for item in mine:
                out.append(f"    {item.question.file}: {item.question.place}\n", "bold")
                out.append(f"      {' '.join(item.question.expression.split())}\n", "dim")
                for reason in item.reasons:
                    out.append(f"      {'on purpose: ' if item.deliberate else ''}{reason}\n")


def _deliberate(out: Text, items: Iterable[Difference]) -> None:
    metrics: dict[Deviation, dict[str, None]] = {}
    for item in items:
        if item.deviation is not None:
            metrics.setdefault(item.deviation, {})[item.metric] = None
    for deviation, names in metrics.items():
        shown = [*names][:_SHOWN]
        out.append(f"  {', '.join(shown)}", "bold")
        out.append(f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
        out.append(f"\n    theirs: {deviation.theirs}\n    here: {deviation.ours}; {deviation.why}\n")


def _moved(out: Text, items: Sequence[Moved]) -> None:
    for metric in dict.fromkeys(item.metric for item in items):
        mine = [item for item in items if item.metric == metric]
        out.append(f"  {metric}", "bold")
        out.append(f"  {len(mine)} series, read {mine[0].age:.0f} s ago; these can be compared once nothing moves\n")


def _series(item: Difference) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(item.labels.items()))
    values = {"missing": f"{item.theirs}", "more": f"{item.ours}"}.get(
        item.aspect, f"theirs {item.theirs}, here {item.ours}"
    )
    return f"{{{labels}}} {values}" if item.labels else values


def _plain(item: Difference) -> dict[str, Any]:
    deviation = item.deviation
    return {
        "aspect": item.aspect,
        "metric": item.metric,
        "labels": dict(item.labels),
        # JSON has no NaN.
        "theirs": str(item.theirs) if item.theirs is not None else None,
        "ours": str(item.ours) if item.ours is not None else None,
        "on_purpose": deviation.why if deviation is not None else None,
    }

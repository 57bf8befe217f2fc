"""Measured figures as Markdown, ratios in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.measure import Figures

# What a column of ours may be of theirs, by the kind of table.
GOALS: Mapping[str, Mapping[str, float]] = {
    "fresh": {"p50, ms": 1 / 2, "exporter CPU, ms": 1 / 8, "server CPU, ms": 1},
    "shipped": {"p50, ms": 1 / 10, "exporter CPU, ms": 1 / 8, "server CPU, ms": 1 / 2, "peak RSS, MiB": 1},
}


def comparison(kind: str, title: str, peer: Figures, ours: Figures) -> str:
    """One comparison."""
    theirs, mine = peer.per_scrape(), ours.per_scrape()
    goals = GOALS[kind]
    rows = [
        [f"{kind}: {title}", *theirs],
        ["---", *["---:" for _ in theirs]],
        ["ours / theirs", *[f"**{_ratio(mine[name], theirs[name])}**" for name in theirs]],
        ["goal", *[f"{goals[name]:.3g}" if name in goals else "" for name in theirs]],
        [ours.name, *[_number(value) for value in mine.values()]],
        [peer.name, *[_number(value) for value in theirs.values()]],
    ]
    lacking = sorted(peer.names() - ours.names())
    notes = [f"{len(ours.seconds)} scrapes of each; series left out of our page: {ours.left_out():.0f}."]
    if lacking:
        notes.append(f"On their page and not on ours: {', '.join(lacking)}.")
    return f"{table(rows)}\n{' '.join(notes)}\n"


def growth(measured: Mapping[int, tuple[Figures, Figures]]) -> str:
    """The same work at several sizes, a row for each."""
    columns = ("p50, ms", "exporter CPU, ms", "server CPU, ms", "peak RSS, MiB", "series")
    rows = [
        ["fresh: tables", *[f"{column}: ours / theirs" for column in columns[:-1]], *[f"{c}, ours" for c in columns]],
        ["---:"] * (2 * len(columns)),
    ]
    for tables, (peer, ours) in measured.items():
        theirs, mine = peer.per_scrape(), ours.per_scrape()
        ratios = [f"**{_ratio(mine[column], theirs[column])}**" for column in columns[:-1]]
        rows.append([str(tables), *ratios, *[_number(mine[column]) for column in columns]])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table of Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _ratio(mine: float, theirs: float) -> str:
    return f"{mine / theirs:.2f}" if theirs else "–"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"

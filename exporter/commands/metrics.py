"""`metrics`: prints the reference of all metrics as Markdown, from the declarations."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from exporter.catalogue import Entry, entries
from exporter.declare import Collector
from exporter.registry import collectors_by_name

_INTRODUCTION = """\
# Metrics

Printed by `database-exporter metrics` from the declarations; `make docs` writes it anew.

Every series about a server has the label `server`, every `db_*` series also `engine` (`postgres` or `mysql`, the latter
for MariaDB too). A value that a server does not know is absent, never zero. *Drop-in* metrics have the name, the labels
and the value that postgres_exporter or mysqld_exporter give them.
"""

_ENGINES = {"postgres": "PostgreSQL", "mysql": "MySQL and MariaDB"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing beyond the flags that exporter.cli gives it."""


def run(_: argparse.Namespace) -> int:
    """Print the reference."""
    print(reference(), end="")
    return 0


def reference() -> str:
    """The reference: the vocabulary that all engines share, then each collector, then the exporter itself."""
    found = entries()
    parts = [_INTRODUCTION]
    parts.append("## What all engines share\n\nWhere there is more than one source the collectors below say which.\n")
    parts.append(_shared([entry for entry in found if entry.name.startswith("db_")]))
    for collector in collectors_by_name().values():
        if collector.elsewhere_of is not None:
            continue
        parts.append(f"## {collector.name}\n\n{collector.about} {_schedule(collector)}\n")
        parts.append(_table(entry for entry in found if entry.collector == collector.name))
    parts.append("## The exporter itself\n\nAlways there, also while a server is down.\n")
    parts.append(_table(entry for entry in found if not entry.collector))
    return "\n".join(parts)


def _schedule(collector: Collector) -> str:
    every = collector.every
    if collector.sampled is not None:
        return "Sampled once a second."
    when = "Runs at every scrape" if every is None else f"Runs every {every:g} seconds in the background"
    if collector.core_share is not None:
        when += (
            f", or so seldom that it takes no more than {collector.core_share:.1%} of one of the server's processors"
        )
    second = collector.derived()
    if second is not None:
        when += f", in other databases than the connected one as `{second.name}` every {second.every:g} seconds"
    return when + ("." if collector.default else ", once it is switched on in the config.")


def _shared(found: Sequence[Entry]) -> str:
    """One line for each metric, whatever the number of collectors that feed it."""
    collectors = collectors_by_name()
    lines = ["| metric | type | labels | what it says | from |", "|---|---|---|---|---|"]
    for name in sorted({entry.name for entry in found}):
        mine = [entry for entry in found if entry.name == name]
        labels = dict.fromkeys(f"`{label}`" for entry in mine for label in entry.labels)
        sources = dict.fromkeys(
            _ENGINES[collectors[entry.collector].engine] if entry.collector else entry.where for entry in mine
        )
        lines.append(_line(f"`{name}`", mine[0].kind, ", ".join(labels), mine[0].help, ", ".join(sources)))
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[Entry]) -> str:
    lines = ["| metric | type | labels | what it says | where |", "|---|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        text = row.help + (" *Drop-in.*" if row.drop_in else "")
        lines.append(_line(f"`{row.name}`", row.kind, labels, text, row.where))
    return "\n".join(lines) + "\n"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

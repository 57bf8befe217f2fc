"""`python -m exporter.compare.deviations`: writes the tables of docs/migrating.md anew."""

from __future__ import annotations

import re
from pathlib import Path

from exporter.compare.deviations import Deviation, of
from exporter.gates import ANY

FILE = Path(__file__).parents[3] / "docs" / "migrating.md"
_TABLE = re.compile(r"(<!-- deviations: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def document(text: str) -> str:
    """The document with its tables as they have to be; all else stays."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(found[2])}\n{found[3]}", text)


def _table(engine: str) -> str:
    lines = ["| metric | theirs | ours | why | the cause in their source | proof |", "|---|---|---|---|---|---|"]
    lines += [_line(item) for item in of(engine)]
    return "\n".join(lines) + "\n"


def _either(values: str) -> str:
    if values.startswith("!"):
        return f"none of {_either(values[1:])}"
    return " or ".join(f"`{value or 'empty'}`" for value in values.split("|"))


def _line(item: Deviation) -> str:
    metrics = ", ".join(f"`{name}`" for name in item.metrics)
    labels = "".join(f", {label} {_either(values)}" for label, values in item.labels.items())
    where = "" if item.when is ANY else f" ({item.when})"
    file, _, name = item.test.partition("::")
    proof = f"[{name or file.rpartition('/')[2]}](../{file})"
    cells = (metrics + labels + where, item.theirs, item.ours, item.why, item.source, proof)
    # A star in running text would begin emphasis.
    return "| " + " | ".join(re.sub(r"(?<![`\w])(\w+_)\*", r"`\1*`", cell.replace("|", "\\|")) for cell in cells) + " |"


if __name__ == "__main__":
    FILE.write_text(document(FILE.read_text()))

"""docs/metrics.md is what the command prints, and what it prints is complete."""

from __future__ import annotations

import subprocess
import sys

from exporter.catalogue import entries
from tests.exporters import ROOT, environment


def test_the_reference_is_current_and_complete() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "exporter", "metrics"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip
    names = {line.split("`")[1] for line in printed.splitlines() if line.startswith("| `")}
    assert names == {entry.name for entry in entries()}
    committed = (ROOT / "docs" / "metrics.md").read_text()
    assert committed == printed, "docs/metrics.md is not current: run make docs"

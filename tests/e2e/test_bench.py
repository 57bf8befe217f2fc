"""`make bench` measures both exporters on servers built alike, and prints tables that can be read."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.exporters import ROOT


def test_a_small_bench_prints_its_tables() -> None:
    size = ["--tables=7", "--databases=3", "--statements=40", "--scrapes=2", "--shipped=0", "--growth=5"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *size], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The statement that counts them is known, too.
    assert "7 tables, 3 databases, 41 statements" in done.stdout
    for table in ("fresh: defaults", "fresh: more", "fresh: tables"):
        assert f"| {table} |" in done.stdout
    series = [
        float(line.split("|")[-2].replace(",", ""))
        for line in done.stdout.splitlines()
        if line.startswith(("| database-exporter", "| postgres_exporter"))
    ]
    assert len(series) == 4
    assert min(series) > 300
    assert re.findall(r"left out of our page: (\d+)", done.stdout) == ["0", "0"]

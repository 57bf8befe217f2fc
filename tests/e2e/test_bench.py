"""`make bench` measures both exporters on servers built alike, and prints tables that can be read."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.exporters import ROOT


@pytest.mark.parametrize(
    ("kind", "peer", "there", "growth"),
    [
        # The statement that counts them is known, too.
        ("postgres-18", "postgres_exporter", "7 tables, 3 databases, 41 statements", "5"),
        ("mysql-9.7", "mysqld_exporter", "7 tables in 10 schemas, 41 digests", ""),
    ],
)
def test_a_small_bench_prints_its_tables(kind: str, peer: str, there: str, growth: str) -> None:
    size = ["--tables=7", "--databases=3", "--statements=40", "--scrapes=2", "--shipped=0", "--samples=3"]
    size.append(f"--growth={growth}")
    done = subprocess.run(
        [sys.executable, "-m", "bench", f"--servers={kind}", *size],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert there in done.stdout
    for table in ("fresh: defaults", "fresh: more", *(["fresh: tables"] if growth else [])):
        assert f"| {table} |" in done.stdout
    assert re.search(r"^\| idle( \| [*.\d-]+){6} \|$", done.stdout, re.MULTILINE)
    assert re.search(r"^\| 4 sessions at work, 8 asleep( \| [*.\d-]+){6} \|$", done.stdout, re.MULTILINE)
    series = [
        float(line.split("|")[-2].replace(",", ""))
        for line in done.stdout.splitlines()
        if line.startswith(("| database-exporter", f"| {peer}"))
    ]
    assert len(series) == 4
    assert min(series) > 300
    assert re.findall(r"left out of our page: (\d+)", done.stdout) == ["0", "0"]

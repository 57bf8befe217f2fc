"""What make offers: every target that the help and the README name is there and points at what exists."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.exporters import ROOT

# What fixtures give that start something.
STARTED = {"Fleet", "DatabaseServer", "Live", "Prometheus", "Promtool", "PgBouncer", "Program", "Engine"}
TARGETS = ("demo", "test", "test-fast", "test-full", "test-rest", "lint", "fmt", "docs", "bench")


def _make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip


def test_help_names_every_target() -> None:
    told = " ".join(re.findall(r"^make ([a-z -]+?)  ", _make("help"), re.MULTILINE)).split()
    assert sorted(told) == sorted(TARGETS)


def test_documents_name_no_other_targets() -> None:
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        # In code only: make is also a verb.
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), re.MULTILINE):
            assert target in (*TARGETS, "help", "clean"), path


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_runs_what_is_there(target: str) -> None:
    told = _make("--dry-run", "--always-make", target)
    for path in re.findall(r" ((?:tests|docs|exporter|alerts|dashboards)/[\w/.]+)", told):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m (exporter|alerts|dashboards|bench)((?:\.\w+)*)", told):
        place = ROOT / "".join(module).replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
    # Nobody gets half of the tools.
    assert re.search(r"pip install .*-c constraints\.txt -e '\.\[(dev|demo)\]'", told)


def test_the_fast_tests_need_no_server() -> None:
    told = _make("--dry-run", "test-fast")
    (words,) = re.findall(r"-m pytest (.*)", told)
    paths = [ROOT / word for word in words.split() if not word.startswith("-")]
    files = [file for path in paths for file in ([path], path.glob("test_*.py"))[path.is_dir()]]
    assert len(files) > 20
    for file in files:
        asked = re.findall(r"^def test_\w+\((.*?)\) ->", file.read_text(), re.MULTILINE | re.DOTALL)
        assert not set(re.findall(r"\w+", " ".join(asked))) & STARTED, file

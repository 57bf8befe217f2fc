"""The list of what differs on purpose: every entry is proven by a test, and the document is written from it."""

from __future__ import annotations

import ast

import pytest

from exporter.compare.deviations import Deviation, of
from exporter.compare.deviations.__main__ import FILE, document
from exporter.registry import collectors_by_name
from tests.exporters import ROOT

ALL = [*of("postgres"), *of("mysql")]


def _name(item: Deviation) -> str:
    return f"{item.metrics[0]} {item.aspects[0]}"


@pytest.mark.parametrize("item", ALL, ids=_name)
def test_the_proof_is_there(item: Deviation) -> None:
    file, _, name = item.test.partition("::")
    tests = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert name in tests if name else any(test.startswith("test_") for test in tests)


@pytest.mark.parametrize("item", ALL, ids=_name)
def test_an_entry_says_what_and_why(item: Deviation) -> None:
    assert all((item.metrics, item.aspects, item.theirs, item.ours, item.why, item.source))
    assert not any(text.endswith(".") for text in (item.theirs, item.ours, item.why))
    assert not item.ignore or item.aspects == ("label",)


def test_no_entry_explains_everything() -> None:
    drop_in = {measure.name for item in collectors_by_name().values() for measure in item.measures() if measure.drop_in}
    for item in ALL:
        covered = sum(item.is_about(name) for name in drop_in)
        assert covered < len(drop_in) / 2, item.metrics


def test_the_document_is_current() -> None:
    text = FILE.read_text()
    assert text.count("<!-- deviations: ") == 2
    assert document(text) == text, "docs/migrating.md is not current: run make docs"

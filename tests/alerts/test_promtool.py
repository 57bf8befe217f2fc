"""Prometheus' own judgement: the rules are valid, and fire and stay silent when they should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.conftest import Promtool
from tests.alerts.rules import ROOT, RULE_FILES, TEST_FILES


def test_rules_are_valid_and_without_duplicates(promtool: Promtool) -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *(str(path) for path in RULE_FILES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_behave(promtool: Promtool, path: Path) -> None:
    tested = promtool("test", "rules", "--diff", str(path.relative_to(ROOT)))
    assert tested.returncode == 0, tested.stdout + tested.stderr

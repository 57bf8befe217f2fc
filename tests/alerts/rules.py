"""The committed rule files and their promtool tests, read as plain YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULE_FILES = sorted((ROOT / "alerts").glob("r*/*.yml"))
TEST_FILES = sorted((ROOT / "alerts" / "tests").glob("*.yml"))
_QUESTION = re.compile(r'with printf "((?:[^"\\]|\\.)*)"')


def _groups() -> list[dict[str, Any]]:
    return [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]


GROUPS = _groups()
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDINGS = [rule for rule in RULES if "record" in rule]


def name(rule: dict[str, Any]) -> str:
    """What a rule is called in a test report."""
    return str(rule["record"]) if "record" in rule else f"{rule['alert']}-{rule['labels']['severity']}"


def questions(rule: dict[str, Any]) -> list[str]:
    """The expressions that a rule evaluates: its own, and those in its texts with the places filled."""
    texts = " ".join(rule.get("annotations", {}).values())
    asked = [text.replace('\\"', '"') for text in _QUESTION.findall(texts) if "{%s" in text or ",%s" in text]
    return [rule["expr"], *(text.replace("%s", 'server="x"').replace("%q", '"x"') for text in asked)]


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Every alert_rule_test of every test file, with the group it belongs to."""
    return [
        (f"{path.stem}: {group['name']}", case)
        for path in TEST_FILES
        for group in yaml.safe_load(path.read_text())["tests"]
        for case in group.get("alert_rule_test", [])
    ]

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Promtool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Give a function that runs promtool with its arguments, from the top of the repository."""
    from tests.providers.tools import tool  # noqa: PLC0415

    binary = str(tool("promtool"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    return run

"""Which provider a test run uses."""

from __future__ import annotations

from tests.providers.base import Provider, ProviderError
from tests.providers.local import LocalProvider
from tests.providers.processes import Workspace


def choose(wish: str, workspace: Workspace) -> Provider:
    """Give the provider `wish` names; ``auto`` takes containers where they can be had, else local ones."""
    if wish in ("auto", "local"):
        return LocalProvider(workspace)
    raise ProviderError(f"unknown provider {wish!r}")

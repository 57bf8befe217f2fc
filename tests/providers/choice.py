"""Which provider a test run uses."""

from __future__ import annotations

from tests.providers.base import Provider, ProviderError
from tests.providers.local import LocalProvider


def choose(wish: str = "auto") -> Provider:
    """Give the provider `wish` names; ``auto`` takes containers where they can be had, else local ones."""
    if wish in ("auto", "local"):
        return LocalProvider()
    raise ProviderError(f"unknown provider {wish!r}")

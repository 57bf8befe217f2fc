"""Which provider a test run uses."""

from __future__ import annotations

from tests.providers.base import Provider
from tests.providers.containers import ContainerProvider, images_can_be_had
from tests.providers.local import LocalProvider
from tests.providers.processes import Workspace


def choose(wish: str, workspace: Workspace) -> Provider:
    """Give the provider `wish` names; ``auto`` takes containers where they can be had, else local ones."""
    if wish == "containers" or (wish == "auto" and images_can_be_had()):
        return ContainerProvider(workspace)
    return LocalProvider(workspace)

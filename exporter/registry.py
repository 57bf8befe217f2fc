"""Finds every collector: a module below exporter.collectors registers by being there."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from exporter import collectors
from exporter.declare import Collector, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def collectors_by_name() -> Mapping[str, Collector]:
    """Every declared collector by its name, in the order of their names."""
    found: dict[str, Collector] = {}
    for info in pkgutil.walk_packages(collectors.__path__, collectors.__name__ + "."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, Collector) and found.setdefault(value.name, value) is not value:
                raise DeclarationError(f"two collectors are named {value.name}; one of them is in {info.name}")
    for collector in list(found.values()):
        second = collector.derived()
        if second is not None and found.setdefault(second.name, second) is not second:
            raise DeclarationError(f"two collectors are named {second.name}")
    return MappingProxyType(dict(sorted(found.items())))


def collectors_of(engine: str) -> list[Collector]:
    """The collectors of one engine."""
    return [collector for collector in collectors_by_name().values() if collector.engine == engine]

"""The engines there are, by the name that the config calls them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final, cast

from exporter.engines.base import Engine

_PLACES = {
    "postgres": ("exporter.engines.postgres.engine", "POSTGRES"),
    "mysql": ("exporter.engines.mysql.engine", "MYSQL"),
}


class _Engines(Mapping[str, Engine]):
    """Imports an engine when it is first asked for: a driver that no server needs is a tenth of all memory."""

    def __getitem__(self, name: str) -> Engine:
        module, constant = _PLACES[name]
        return cast("Engine", getattr(importlib.import_module(module), constant))

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


ENGINES: Final[Mapping[str, Engine]] = _Engines()

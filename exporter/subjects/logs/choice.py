"""Which collector counts a server's slow statements: one at a time, and the log before all others."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.config.model import SLOW_LOG_COLLECTORS, ServerConfig
from exporter.declare import Collector
from exporter.subjects.statements.measures import SLOW, THRESHOLD
from exporter.tailor import without

_COUNTED = frozenset(measure.name for part in (SLOW, THRESHOLD) for measure in part.measures)
_LOGS = frozenset(SLOW_LOG_COLLECTORS.values())


def counting_slow(collectors: Iterable[Collector], config: ServerConfig) -> list[Collector]:
    """The collectors of a server: with its log configured that one counts slow statements, and no other does."""
    collectors = list(collectors)
    if not config.reads_log:
        return collectors
    logs = [item for item in collectors if item.name in _LOGS]
    return [*without((item for item in collectors if item.name not in _LOGS), _COUNTED), *logs]

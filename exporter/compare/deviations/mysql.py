"""What differs from mysqld_exporter 0.19 on purpose."""

from __future__ import annotations

from exporter.compare.deviations import Deviation

DEVIATIONS: tuple[Deviation, ...] = ()

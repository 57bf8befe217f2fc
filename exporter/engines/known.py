"""The engines there are, by the name that the config calls them."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.engines.base import Engine
from exporter.engines.mysql.engine import MYSQL
from exporter.engines.postgres.engine import POSTGRES

ENGINES: Mapping[str, Engine] = {"postgres": POSTGRES, "mysql": MYSQL}

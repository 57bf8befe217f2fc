"""The configuration: its shape, how it is read from a file or the environment, and how secrets are kept."""

from exporter.config.basics import Engine
from exporter.config.errors import ConfigError, Problem
from exporter.config.loading import load, load_text
from exporter.config.model import (
    DEFAULT_THRESHOLDS,
    TLS,
    CollectorSettings,
    Config,
    DatabaseFilter,
    Project,
    ServerConfig,
    Timeouts,
    Web,
)
from exporter.config.own import Known
from exporter.config.resolve import server_from_dsn
from exporter.config.secrets import Secret, SecretError
from exporter.config.sources import from_environment

__all__ = [
    "DEFAULT_THRESHOLDS",
    "TLS",
    "CollectorSettings",
    "Config",
    "ConfigError",
    "DatabaseFilter",
    "Engine",
    "Known",
    "Problem",
    "Project",
    "Secret",
    "SecretError",
    "ServerConfig",
    "Timeouts",
    "Web",
    "from_environment",
    "load",
    "load_text",
    "server_from_dsn",
]

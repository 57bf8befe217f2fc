"""What Prometheus' HTTP service discovery reads: one target for each server, scraped through /probe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exporter.config.model import ServerConfig

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")


def target_groups(servers: Iterable[ServerConfig], address: str, *, tls: bool = False) -> list[dict[str, Any]]:
    """The target groups, ordered by the servers' names.

    Each target is told to scrape `/probe?target=NAME` and has the server's name as `instance`, so that rules that say
    `on(instance)` hold without any relabelling; the `__meta_` labels are there for those who want another one.

    Args:
        servers: Of the config.
        address: `host:port` at which Prometheus reaches the exporter.
        tls: Whether by https.
    """
    scheme = {"__scheme__": "https"} if tls else {}
    return [_group(server, address, scheme) for server in sorted(servers, key=lambda server: server.name)]


def _group(server: ServerConfig, address: str, scheme: Mapping[str, str]) -> dict[str, Any]:
    about: Mapping[str, str] = {
        "server": server.name,
        "engine": server.engine,
        "address": server.socket or f"{_bracketed(server.host)}:{server.port}",
        "database": server.database or ("postgres" if server.engine == "postgres" else ""),
        "cluster": server.cluster or "",
        "paused": str(server.paused).lower(),
    }
    labels = {
        **scheme,
        "__metrics_path__": "/probe",
        "__param_target": server.name,
        "instance": server.name,
        **{f"__meta_database_exporter_{key}": value for key, value in about.items()},
        **server.labels,
    }
    return {"targets": [address], "labels": dict(sorted(labels.items()))}


def own_address(host: str | None, listening: Sequence[Any] | None) -> str:
    """`host:port` as the client called us in its Host header; without a usable one, where the request arrived."""
    if host is not None and _HOST.match(host):
        return host
    name, port = (str(listening[0]), listening[1]) if listening else ("localhost", 9187)
    return f"{_bracketed(name)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

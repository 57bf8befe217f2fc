"""Which server of the config a target means: its name, or the address as probes of the existing exporters say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from exporter.config.dsn import DSNError, parse_dsn
from exporter.config.model import DEFAULT_PORTS, LeftAside, ServerConfig

_PAIRS = re.compile(r" *[a-zA-Z0-9]+ *= *[^= ]+")


def server_at(target: str, servers: Iterable[ServerConfig]) -> str | None:
    """The name of the server that is meant; None if it is none of ours, or if several are.

    Whatever else the target says, an account above all, is not heeded: nobody can make us connect elsewhere, or as
    somebody else, than the config says.
    """
    servers = list(servers)
    if any(server.name == target for server in servers):
        return target
    said = _said(target)
    if said is None:
        return None
    where = said.get("socket") or said.get("host") or "localhost"
    found = [
        server
        for server in servers
        if where == (server.socket or server.host) and said.get("port", DEFAULT_PORTS[server.engine]) == server.port
    ]
    if len(found) > 1:
        found = [server for server in found if server.database == said.get("database")]
    return found[0].name if len(found) == 1 else None


def fault_of(target: str, account: str | None, aside: Iterable[LeftAside]) -> str | None:
    """Why the server at the address, or the one with the account of that name, is not watched; None if it isn't known.

    Which servers there are is told to nobody who does not know them already.
    """
    said = _said(target) or {}
    where = said.get("socket") or said.get("host")
    for server in aside:
        at_port = server.port in {None, said.get("port", DEFAULT_PORTS["mysql"])}
        if account == server.section or (where in {server.socket, server.host} - {None} and at_port):
            return server.fault
    return None


def _said(target: str) -> Mapping[str, object] | None:
    """What an address says, None if it can't be read."""
    try:
        pairs = "://" not in target and _PAIRS.match(target)
        return parse_dsn(target if pairs or "://" in target else f"postgresql://{target}").keys
    except DSNError:
        return None

"""Where our page comes from: a running exporter, or this process reading the server itself; and of which server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from exporter.compare import pages
from exporter.compare.pages import Page, PageError
from exporter.config import Config, ServerConfig
from exporter.engines.known import ENGINES
from exporter.exposition.process import Process
from exporter.polling.flight import REUSE_SECONDS
from exporter.polling.scrape import Scrapes
from exporter.registry import collectors_by_name
from exporter.web.pages import Pages, Wishes

# A page that is younger is the last one once more.
_PAUSE_SECONDS = REUSE_SECONDS + 0.1
_OWN = "database_exporter_"
_NAME = "--server NAME"


class Source(Protocol):
    """Gives our page of one server.

    Attributes:
        name: Of the server.
        connected: The database that it is connected to, if that is known.
    """

    name: str
    connected: str | None

    def read(self) -> Page:
        """The page, as it is now."""

    def close(self) -> None:
        """Leave the server alone."""


@dataclass
class Running:
    """A running exporter of ours.

    Attributes:
        url: Of its page of the server.
        name: The server.
        address: Where the server is, if that was asked for.
        connected: The database that it is connected to, if that is known.
    """

    url: str
    name: str
    address: str | None = None
    connected: str | None = None

    def read(self) -> Page:
        """Scrape it."""
        return pages.fetch(self.url).only("server", self.name)

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Here:
    """This process, which reads the server as the exporter would."""

    config: Config
    name: str
    connected: str | None = None
    _scrapes: Scrapes = field(init=False)
    _pages: Pages = field(init=False)

    def __post_init__(self) -> None:
        servers = [server for server in self.config.servers if server.name == self.name]
        self._scrapes = Scrapes(servers, ENGINES, collectors_by_name().values())
        self._pages = Pages(self.config, self._scrapes, Process())
        watched = self._scrapes.servers[self.name]
        self.read()
        # What is read in the background has to be there once; nothing in it is due again while we look.
        watched.background(watched.slow_tasks())

    def read(self) -> Page:
        """Ask the server."""
        answer = asyncio.run(self._pages.probe(self.name, Wishes(accept="text/plain;version=0.0.4")))
        return pages.parse(b"".join(answer.body).decode())

    def close(self) -> None:
        """End the sessions."""
        self._pages.close()
        self._scrapes.close(1.0)


def running(url: str, name: str | None, theirs: Page) -> Running:
    """A running exporter's page of the server that theirs is about.

    Args:
        url: Of its /metrics, or of a /probe.
        name: Of the server, if somebody said it.
        theirs: The other exporter's page, whose label `server` may say which one it is.

    Raises:
        PageError: It is no exporter of ours, or it is not clear which server is meant.
    """
    url = pages.complete(url)
    page = pages.fetch(url)
    if not any(metric.startswith(_OWN) for metric in page.metrics):
        raise PageError(
            f"{pages.shown(url)} is no page of database-exporter; name ours with --new URL, or give --config.file or "
            "DATA_SOURCE_NAME to have the server read from here"
        )
    names = page.values("server")
    parts = urlsplit(url)
    base = parts.path.rpartition("/")[0]
    listed = urlunsplit((parts.scheme, parts.netloc, f"{base}/sd", "", ""))
    if len(names) == 1 and name in (None, *names):
        only = next(iter(names))
        try:
            return Running(url, only, connected=_listed(listed, "database").get(only))
        except PageError:
            # The page may be in a place of its own; then what is read in the background is a guess less.
            return Running(url, only)
    addresses = _listed(listed, "address")
    chosen = _choose(name, addresses, theirs)
    return Running(
        urlunsplit((parts.scheme, parts.netloc, f"{base}/probe", f"target={quote(chosen)}", "")),
        chosen,
        addresses[chosen],
        _listed(listed, "database").get(chosen),
    )


def here(config: Config, name: str | None, theirs: Page) -> Here:
    """This process, reading the server that theirs is about; see `running`."""
    addresses = {server.name: _address(server) for server in config.servers}
    chosen = _choose(name, addresses, theirs)
    return Here(config, chosen, next(item.database or "postgres" for item in config.servers if item.name == chosen))


def of_one_server(theirs: Page, address: str | None) -> Page:
    """Their page, narrowed to a server where it is about several.

    Raises:
        PageError: It is about several, and none of them has this address.
    """
    servers = theirs.values("server")
    if len(servers) < 2:
        return theirs
    if address not in servers:
        raise PageError(
            f"the old page is about {', '.join(sorted(servers))}, none of which is the address in our config; "
            "compare with a page of one: /probe?target=ADDRESS of the old exporter"
        )
    return theirs.only("server", address)


def pause(since: float) -> None:
    """Wait until a new page is a new one."""
    time.sleep(max(0.0, since + _PAUSE_SECONDS - time.monotonic()))


def _choose(name: str | None, addresses: Mapping[str, str], theirs: Page) -> str:
    listed = ", ".join(sorted(addresses)) or "none"
    if name is not None:
        if name not in addresses:
            raise PageError(f"there is no server {name}; there are: {listed}")
        return name
    if len(addresses) == 1:
        return next(iter(addresses))
    same = [server for server, address in addresses.items() if address in theirs.values("server")]
    if len(same) != 1:
        raise PageError(f"ours has several servers, and it is not clear which one is meant; say {_NAME}: {listed}")
    return same[0]


def _listed(url: str, what: str) -> dict[str, str]:
    """Something of each server that an exporter of ours lists."""
    try:
        groups: Sequence[Mapping[str, Mapping[str, str]]] = json.loads(pages.text(url))
        labels = [group["labels"] for group in groups]
        return {item["__meta_database_exporter_server"]: item[f"__meta_database_exporter_{what}"] for item in labels}
    except (ValueError, KeyError, TypeError):
        raise PageError(f"{pages.shown(url)} lists no servers; name our page with --new URL") from None


def _address(server: ServerConfig) -> str:
    return server.socket or f"{server.host}:{server.port}"

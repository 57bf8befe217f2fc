"""Makes metric pages: starts the scrapes of the servers on it, waits for them, and puts the outcomes together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from exporter.config.model import Config, ServerConfig, Timeouts
from exporter.engines.deadline import Deadline
from exporter.exposition.compress import MINIMUM_BYTES, compress
from exporter.exposition.negotiate import accepts_gzip, negotiate
from exporter.exposition.page import encoded, pieces
from exporter.exposition.process import Process
from exporter.exposition.render import Family, escape, server_label
from exporter.exposition.selfmetrics import about, up_alone
from exporter.polling.flight import Flight
from exporter.polling.scrape import Scrapes
from exporter.switching.mysqld_families import collected

log = logging.getLogger(__name__)

# No client can make a scrape last longer than this, whatever it announces.
LONGEST_SECONDS = 120.0
# Runs have to be over a little before the page is due, so that their outcomes are on it.
_SETTLING_SECONDS = 0.25
_SETTLING_PART = 0.1
_LEAST_SECONDS = 1.0
_HURRY_SECONDS = 2.0
# Building a page is work for a processor, not waiting: more threads would only get in each other's way.
_THREADS = 2
# What Prometheus, too, takes for the present.
_RECENT_SECONDS = 300.0
_OWN_LABELS = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client asked for, by the headers of its request and by `collect[]` in its address."""

    accept: str | None = None
    accept_encoding: str | None = None
    timeout: str | None = None
    collect: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it goes over the wire; its body can be had once."""

    body: Iterable[bytes]
    headers: Mapping[str, str]


def seconds_for(announced: str | None, timeouts: Timeouts) -> float:
    """Seconds until the page is due: the timeout that Prometheus announces, or the default, less the offset."""
    try:
        seconds = float(announced or "")
    except ValueError:
        seconds = 0.0
    if not math.isfinite(seconds) or seconds <= 0:
        seconds = timeouts.scrape_default
    seconds = min(seconds, LONGEST_SECONDS)
    # A timeout that is hardly longer than the offset still leaves time for something.
    return seconds - min(timeouts.scrape_offset, seconds / 2)


class Pages:
    """The metric pages of a config."""

    def __init__(self, config: Config, scrapes: Scrapes, process: Process) -> None:
        self._config = config
        self._scrapes = scrapes
        self._process = process
        self._pool = ThreadPoolExecutor(_THREADS, "page")
        self._waits: set[asyncio.Timeout] = set()

    async def metrics(self, wishes: Wishes) -> Page:
        """All servers and the process; with too many servers db_up alone of each."""
        web = self._config.web
        names = list(self._scrapes.servers)
        if web.metrics_for_all or len(names) <= web.max_servers_on_metrics:
            flights = await self._fly(names, wishes)
            return await self._in_pool(lambda: _answer(self._everything(flights, wishes), wishes))
        return await self._in_pool(lambda: _answer(self._ups(names), wishes))

    async def probe(self, name: str, wishes: Wishes) -> Page:
        """One server.

        Raises:
            KeyError: There is none of that name.
        """
        flights = await self._fly([name], wishes)
        return await self._in_pool(lambda: _answer(self._server(name, flights[name], wishes), wishes))

    def hurry(self) -> None:
        """The end has begun: pages that wait for servers come out soon, with what there is by then."""
        latest = asyncio.get_running_loop().time() + _HURRY_SECONDS
        for wait in self._waits:
            wait.reschedule(min(latest, wait.when() or latest))

    def close(self) -> None:
        """Make no further pages."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _fly(self, names: Iterable[str], wishes: Wishes) -> dict[str, Flight]:
        """Start or join the scrapes of servers and wait until they have landed or the page is due."""
        flights: dict[str, Flight] = {}
        due = 0.0
        for name in names:
            seconds = seconds_for(wishes.timeout, self._scrapes.servers[name].config.timeouts)
            due = max(due, seconds)
            # Whoever has no patience gets an early page, but no scrape that others join is cut so short for it.
            settled = max(_LEAST_SECONDS, seconds - min(_SETTLING_SECONDS, seconds * _SETTLING_PART))
            flights[name] = self._scrapes.start(name, Deadline.after(settled))
        if not flights:
            return flights
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due) as wait:
                self._waits.add(wait)
                try:
                    await asyncio.wait([asyncio.wrap_future(flight.future) for flight in flights.values()])
                finally:
                    self._waits.discard(wait)
        return flights

    async def _in_pool(self, make: Callable[[], Page]) -> Page:
        return await asyncio.get_running_loop().run_in_executor(self._pool, make)

    def _everything(self, flights: Mapping[str, Flight], wishes: Wishes) -> list[Family]:
        families = self._process.families(complete=True)
        for name, flight in flights.items():
            config = self._scrapes.servers[name].config
            families.extend(labelled(family, config) for family in self._server(name, flight, wishes))
        return families

    def _ups(self, names: Iterable[str]) -> list[Family]:
        families = self._process.families(complete=False)
        for name in names:
            # Nothing is asked of the servers for this page, so what it says has to be from a recent /probe.
            if self._scrapes.seconds_since(name) < _RECENT_SECONDS:
                watched = self._scrapes.servers[name]
                families.extend(labelled(family, watched.config) for family in up_alone(watched))
        return families

    def _server(self, name: str, flight: Flight, wishes: Wishes) -> list[Family]:
        """Everything about one server; whatever goes wrong here is not the other servers' affair."""
        watched = self._scrapes.servers[name]
        only = None
        if wishes.collect and watched.config.engine == "mysql":
            only = collected(wishes.collect, (task.collector for task in watched.tasks.values() if task.enabled))
        try:
            outcomes = self._scrapes.outcomes(name, flight)
            families = about(watched, flight, outcomes)
            for outcome in outcomes:
                task = watched.tasks[outcome.collector]
                shown = outcome if task.every is None else watched.served(task)
                if shown is not None:
                    families.extend(item for item in shown.families if only is None or only.fullmatch(item.name))
        except Exception:
            log.exception("the page of %s", name)
            return up_alone(watched)
        return families


def labelled(family: Family, server: ServerConfig) -> Family:
    """The family with the labels that the config gives its server, but for those that its series have already."""
    if not server.labels or not family.text:
        return family
    # All series of a family have the same labels, and a line end inside a value is escaped.
    own = set(_OWN_LABELS.findall(family.text[: family.text.index("\n")]))
    extra = "".join(f',{name}="{escape(value)}"' for name, value in server.labels.items() if name not in own)
    if not extra:
        return family
    # Inside a label value this text can't stand: its quotes would be escaped.
    start = server_label(server.name)
    return Family(family.name, family.kind, family.help, family.text.replace(start, start + extra), family.series)


def _answer(families: Iterable[Family], wishes: Wishes) -> Page:
    dialect, content_type = negotiate(wishes.accept)
    parts = pieces(families, dialect)
    # Nearly always every character is a byte; then no piece is encoded before it is sent.
    size = sum(len(part) if part.isascii() else len(encoded(part)) for part in parts)
    headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding", "content-length": str(size)}
    if size < MINIMUM_BYTES or not accepts_gzip(wishes.accept_encoding):
        return Page(map(encoded, parts), headers)
    packed = compress(map(encoded, parts))
    return Page([packed], {**headers, "content-length": str(len(packed)), "content-encoding": "gzip"})

"""What sampling of active sessions costs: the exporter with it and without, on an idle server and on one at work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from bench.measure import Figures, cpu_seconds, tree
from tests.providers.base import DatabaseServer

COLLECTORS = {"postgres": "pg_active_sessions", "mysql": "mysql_active_sessions"}
# On and off in turn, at most so often and so many seconds each at least: what else the machine does is in both then.
ROUNDS = 3
_ROUND_SECONDS = 10.0
# Sessions at work, which ask at a steady pace, and sessions that sleep in a statement.
WORKERS, SLEEPERS = 4, 8
_PACE_SECONDS = 0.02
_WORK = {
    "postgres": "SELECT count(*) FROM pg_catalog.pg_class",
    "mysql": "SELECT COUNT(*) FROM information_schema.COLLATIONS",
}
_SLEEP = {"postgres": "SELECT pg_catalog.pg_sleep(1)", "mysql": "SELECT SLEEP(1)"}


# Starts our exporter with the collector on or off.
Ours = Callable[[bool], AbstractContextManager[Figures]]
# CPU milliseconds of the exporter and of the server in each second.
Cost = tuple[float, float]


def measured(ours: Ours, seconds: float) -> Mapping[bool, Cost]:
    """What both take with sampling (True) and without, for so many seconds each."""
    spent = {on: [0.0, 0.0] for on in (False, True)}
    rounds = max(1, min(ROUNDS, int(seconds / _ROUND_SECONDS)))
    for _ in range(rounds):
        for on, sums in spent.items():
            with ours(on) as figures:
                # What is learnt first, and the first runs of what is read in the background, are in neither.
                for _ in range(3):
                    figures.scrape()
                    time.sleep(1.5)
                pids = [[figures.pid], tree(figures.first_process)]
                before = [cpu_seconds(found) for found in pids]
                time.sleep(seconds / rounds)
                pids[1] = tree(figures.first_process)
                for place, found in enumerate(pids):
                    sums[place] += cpu_seconds(found) - before[place]
    return {on: (both[0] / seconds * 1000, both[1] / seconds * 1000) for on, both in spent.items()}


@contextlib.contextmanager
def at_work(server: DatabaseServer) -> Iterator[None]:
    """Have sessions work and sleep meanwhile."""
    over = threading.Event()

    def run(sql: str, pause: float) -> None:
        with server.connect() as session, session.cursor() as cursor:
            while not over.wait(pause):
                cursor.execute(sql)
                cursor.fetchall()

    works = [(_WORK[server.engine], _PACE_SECONDS)] * WORKERS + [(_SLEEP[server.engine], 0.0)] * SLEEPERS
    threads = [threading.Thread(target=run, args=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def table(found: Mapping[str, Mapping[bool, Cost]]) -> Sequence[Sequence[str]]:
    """Rows of a table: by what the server does, with and without samples and the difference."""
    rows = [["samples: CPU ms each second", "exporter, on", "off", "difference", "server, on", "off", "difference"]]
    rows.append(["---", *["---:"] * 6])
    for name, costs in found.items():
        cells = []
        for with_them, without in zip(costs[True], costs[False], strict=True):
            cells += [f"{with_them:.1f}", f"{without:.1f}", f"**{with_them - without:.1f}**"]
        rows.append([name, *cells])
    return rows

"""The existing exporters and ours at work on the same servers, and readings of both."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.compare.deviations import Deviation
from exporter.compare.pages import Page, fetch, parse
from exporter.compare.series import Comparison, Reading, compare
from exporter.registry import collectors_of
from tests.contract.scene import DATABASE, Scene
from tests.exporters import Exporter
from tests.providers.base import Account, DatabaseServer, wait_for
from tests.providers.fleet import Fleet
from tests.providers.processes import free_port
from tests.providers.tools import Program, tool

ROUNDS = 3
# A page younger than this is the last one once more.
PAUSE_SECONDS = 1.1
BACKGROUND = "2s"
# All of them in theirs, as far as it goes, with texts of the length that ours have; without ours, as ours does it.
_STATEMENTS = ("include_query", "query_length=200", "limit=5000", "exclude_users=exporter")
STATEMENTS = tuple(f"--collector.stat_statements.{flag}" for flag in _STATEMENTS)


@contextlib.contextmanager
def postgres_exporter(
    fleet: Fleet, server: DatabaseServer, account: Account, *flags: str, database: str = DATABASE
) -> Iterator[str]:
    """Run the real one, with all its collectors on, until the end; gives the address of its page."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    program = Program(
        fleet.workspace,
        "postgres_exporter",
        [tool("postgres_exporter"), f"--web.listen-address=127.0.0.1:{port}", *all_collectors(), *flags],
        env={"DATA_SOURCE_NAME": server.url(account, database) + "?sslmode=disable"},
    )
    program.start(url)
    try:
        assert wait_for(lambda: fetch(url).value("pg_up") == 1, 30), program.log_text()
        yield url
    finally:
        program.stop()


@contextlib.contextmanager
def mysqld_exporter(fleet: Fleet, server: DatabaseServer, account: Account) -> Iterator[str]:
    """Run the real one, with all its collectors on, until the end; gives the address of its page."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    flags = [*_listed("mysqld_exporter", r"(--collect\.[\w.]+)\s"), f"--mysqld.address={server.host}:{server.port}",
             f"--mysqld.username={account.user}", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    program = Program(
        fleet.workspace,
        "mysqld_exporter",
        [tool("mysqld_exporter"), *flags],
        env={"MYSQLD_EXPORTER_PASSWORD": account.password},
    )
    program.start(url)
    try:
        assert wait_for(lambda: fetch(url).value("mysql_up") == 1, 30), program.log_text()
        yield url
    finally:
        program.stop()


def all_collectors() -> list[str]:
    """The flags that switch every collector of postgres_exporter on."""
    return _listed("postgres_exporter", r"(--collector\.\w+)\s")


def _listed(name: str, pattern: str) -> list[str]:
    """Flags without a value, from the program's own help."""
    said = subprocess.run([tool(name), "--help"], capture_output=True, text=True, check=True)
    found = sorted(set(re.findall(pattern, said.stdout + said.stderr)))
    assert len(found) > 20
    return found


def config_of(name: str, server: DatabaseServer, account: Account, database: str | None = DATABASE) -> dict[str, Any]:
    """The entry of a server in our config, with everything on and the background hurried."""
    return {
        "name": name,
        "url": server.url(account, database),
        "statements": {"limit": 5000},
        "collectors": {
            item.name: ({} if item.default else {"enabled": True})
            | ({"every": BACKGROUND} if item.every is not None else {})
            for item in collectors_of(server.engine)
        },
        # As theirs has single statements.
        **({"statements": {"text": "label", "text_bytes": 120, "limit": 250}} if server.engine == "mysql" else {}),
    }


@contextlib.contextmanager
def ours(
    directory: Path, servers: Mapping[str, tuple[DatabaseServer, Account]], database: str | None = DATABASE
) -> Iterator[Exporter]:
    """Run ours as its users do, and wait until everything in the background has been read."""
    entries = [config_of(name, server, account, database) for name, (server, account) in servers.items()]
    with Exporter(directory, {"servers": entries}) as exporter:
        for name, (server, _) in servers.items():
            every = {item.name for item in collectors_of(server.engine)}
            exporter.scrape_until(
                lambda page, every=every: (
                    {labels["collector"] for labels, _ in page.all("database_exporter_collector_state")} >= every
                ),
                name,
                60,
            )
        yield exporter


def page_of(exporter: Exporter, name: str) -> Page:
    """Our page of one server."""
    status, text = exporter.get(f"/probe?target={name}")
    assert status == 200, text
    return parse(text)


def readings(exporter: Exporter, name: str, peer: str) -> list[Reading]:
    """Both pages by turns; everything in ours was read before theirs was asked for, and again after it answered."""
    before = page_of(exporter, name)
    found = []
    for _ in range(ROUNDS):
        theirs = fetch(peer)
        answered = time.monotonic()
        after = read_since(exporter, name, answered)
        found.append(Reading(before, theirs, after, time.monotonic() - answered))
        before = after
    return found


def compared(
    exporter: Exporter, name: str, peer: str, deviations: Sequence[Deviation], found: list[Reading]
) -> Comparison:
    """Compare what was read and, where something differs, more of it, which is added: what is wrong is so each time.

    A busy server's numbers may go up and down between two readings, three times in a row too.
    """
    result = compare(found, deviations)
    while result.unexplained() and len(found) < 4 * ROUNDS:
        found += readings(exporter, name, peer)
        result = compare(found, deviations)
    return result


def read_since(exporter: Exporter, name: str, since: float) -> Page:
    """Our page, once everything in it is of a later moment: what the background has read as well."""
    pages: list[Page] = []

    def renewed() -> bool:
        asked = time.monotonic()
        pages.append(page_of(exporter, name))
        return max(pages[-1].metrics["database_exporter_collector_age_seconds"].values()) < asked - since

    time.sleep(PAUSE_SECONDS)
    assert wait_for(renewed, 60, pause=PAUSE_SECONDS / 4), "the background of ours does not come round"
    return pages[-1]


def scene_exporters(
    fleet: Fleet, made: Scene, directory: Path, stack: contextlib.ExitStack
) -> tuple[Exporter, dict[str, str]]:
    """Ours over both servers of a scene, and theirs by role."""
    peers = {
        role: stack.enter_context(postgres_exporter(fleet, made.server(role), made.peer, *STATEMENTS))
        for role in ("primary", "standby")
    }
    servers = {role: (made.server(role), made.account) for role in peers}
    return stack.enter_context(ours(directory, servers)), peers


def unexplained(result: Comparison) -> list[str]:
    """What nobody has said a reason for, a line each."""
    return [
        f"{item.aspect} {item.metric} {dict(item.labels)}: {item.theirs}, {item.ours}" for item in result.unexplained()
    ]

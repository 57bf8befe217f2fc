"""`check`: does every server answer, which collectors run, and what would mend those that don't."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rich.console import Console
from rich.text import Text

from exporter import accounts
from exporter.config import Config, ServerConfig
from exporter.declare import Collector
from exporter.engines.base import Session
from exporter.engines.deadline import Deadline
from exporter.engines.known import ENGINES
from exporter.engines.postgres.facts import PROVIDERS_OWN
from exporter.failure import Failure
from exporter.gates import FLAVOR_NAMES
from exporter.polling.flight import Flight
from exporter.polling.server import Watched
from exporter.polling.snapshot import Snapshot, State
from exporter.polling.tasks import Task

OK, DEGRADED, BROKEN = 0, 1, 2
_STYLES = {State.OK: "green", State.FAILED: "bold red", State.UNSUPPORTED: "yellow"}
_SECONDS = 60.0
_CHECKS_AT_ONCE = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.add_argument(
        "--grants",
        action="store_true",
        help="print the statements that make a least-privilege account on each server, and check nothing",
    )
    parser.add_argument("--grants.user", dest="grants_user", default="exporter", help="name of that account")


def run(args: argparse.Namespace, config: Config) -> int:
    """Check every server of the config; see the module for what is said and the constants for what is returned."""
    # What the log would say is in the table.
    logging.getLogger("exporter.polling").setLevel(logging.CRITICAL)
    # Without a terminal nothing is wrapped, so that the output can be searched.
    console = Console(highlight=False, soft_wrap=True)
    if not config.servers:
        console.print("The config names no servers; there is nothing to check.")
        return BROKEN
    for warning in config.warnings if not args.grants else ():
        console.print(f"warning: {warning}", style="yellow", markup=False)
    examine = _grants if args.grants else partial(_check, collectors=args.collectors)
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        reports = pool.map(lambda server: examine(server, args.grants_user), config.servers)
        worst = OK
        for text, status in reports:
            console.print(text)
            worst = max(worst, status)
    return worst


def _check(server: ServerConfig, _: str, *, collectors: Sequence[Collector]) -> tuple[Text, int]:
    # How far logs have been read is the business of an exporter that runs beside it.
    watched = Watched(server.model_copy(update={"state_dir": None}), ENGINES[server.engine], collectors)
    text = Text()
    if server.paused:
        text.append(f"{server.name}: paused by the config\n", "yellow")
        return text, OK
    flight = Flight(Deadline.after(_SECONDS))
    watched.scrape(flight)
    if not flight.answered or watched.sessions.facts is None:
        _unreachable(text, server, watched.sessions.failure)
        return text, BROKEN
    facts, tls = watched.sessions.facts, watched.sessions.tls
    text.append(f"{server.name}", "bold")
    text.append(f"  {FLAVOR_NAMES[facts.flavor]} {facts.version_text}, {facts.role}, ")
    text.append(tls or "not encrypted", "green" if tls else "yellow")
    text.append(", behind a transaction pooler\n" if facts.pooled else "\n")
    # One session at a time: the account may have three, and the exporter that runs beside this has up to three itself.
    watched.sessions.close_main()
    watched.background(watched.slow_tasks())
    watched.sample()
    watched.close()
    outcomes = [(watched.tasks[name], snapshot) for name, snapshot in sorted(watched.latest.items())]
    status = OK
    width = max(len(task.name) for task, _ in outcomes)
    for task, outcome in outcomes:
        _line(text, task, outcome, width)
        if outcome.state is State.FAILED or (outcome.state is State.UNSUPPORTED and outcome.fix):
            status = DEGRADED
    for name, failure in watched.closed.failures.items():
        text.append(f"  database {name} is left out: {failure.reason}: {failure.message}\n", "yellow")
        fix = f"{failure.fix} Or exclude" if failure.fix else "exclude"
        text.append(f"  {'':<{width}}  to mend it: {fix} it with `databases` in the config.\n", "cyan")
        status = DEGRADED
    series = sum(outcome.series for _, outcome in outcomes)
    text.append(f"  {len(outcomes)} collectors, {series} series\n")
    return text, status


def _line(text: Text, task: Task, outcome: Snapshot, width: int) -> None:
    text.append(f"  {task.name:<{width}}  ")
    text.append(f"{outcome.state:<11}", _STYLES.get(outcome.state, "dim"))
    if outcome.state in (State.OK, State.FAILED):
        text.append(f" {outcome.duration * 1000:>8.1f} ms {outcome.series:>6} series")
        text.append(f"  every {task.every:g} s" if task.every is not None else "  every scrape")
    if outcome.message:
        text.append(f"  {outcome.message}")
    text.append("\n")
    if outcome.fix:
        text.append(f"  {'':<{width}}  to mend it: {outcome.fix}\n", "cyan")


def _unreachable(text: Text, server: ServerConfig, failure: Failure | None) -> None:
    where = server.socket or f"{server.host}:{server.port}"
    text.append(f"{server.name}", "bold")
    text.append("  unreachable", "bold red")
    if failure is None:
        text.append(f" at {where}\n")
        return
    text.append(f" at {where}: {failure.reason}: {failure.message}\n")
    if failure.fix:
        text.append(f"  to mend it: {failure.fix}\n", "cyan")


def _grants(server: ServerConfig, user: str) -> tuple[Text, int]:
    watched = Watched(server, ENGINES[server.engine], ())
    text = Text()
    try:
        session, facts = watched.sessions.main(Deadline.after(_SECONDS))
    except Failure as failure:
        _unreachable(text, server, failure)
        text.append("  The account depends on the server's version: connect as any account to see it.\n")
        return text, BROKEN
    closed = _closed_databases(server, session)
    over_sql = server.reads_log and server.slow_log is not None and server.slow_log.over_sql
    lines = accounts.statements(facts, user, "CHOOSE-A-PASSWORD", closed, log_over_sql=over_sql)
    watched.close()
    text.append(f"-- {server.name}: {FLAVOR_NAMES[facts.flavor]} {facts.version_text}\n")
    text.append("\n".join(lines) + "\n")
    return text, OK


def _closed_databases(server: ServerConfig, session: Session) -> list[str]:
    """PostgreSQL databases that not everybody may connect to, as an account that is yet to be made."""
    if server.engine != "postgres":
        return []
    rows = session.run(
        "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 "
        "AND NOT EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS entry "
        "WHERE entry.grantee = 0 AND entry.privilege_type = 'CONNECT') ORDER BY datname",
        Deadline.after(_SECONDS),
    )
    return [name for (name,) in rows.rows if server.databases.matches(name) and name not in PROVIDERS_OWN]

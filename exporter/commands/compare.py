"""`compare`: what would change if this exporter took another one's place: series, rules and dashboards."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time

from rich.console import Console

from exporter import log
from exporter.catalogue import labels_of, metric_names
from exporter.commands.configuration import configuration, passwords
from exporter.compare import deviations, pages, sources
from exporter.compare.expressions import judge
from exporter.compare.pages import Page, PageError
from exporter.compare.promql import ParserMissingError
from exporter.compare.questions import QuestionError, from_dashboards, from_rules
from exporter.compare.report import Report
from exporter.compare.series import Reading, compare

SAME, DIFFERENT, UNREADABLE = 0, 1, 2
OURS = "http://localhost:9187/metrics"
_SOURCES = ("DATA_SOURCE_NAME", "DATA_SOURCE_URI")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own flags."""
    parser.add_argument("old", metavar="OLD_URL", help="the other exporter's page, such as http://db1:9187/metrics")
    parser.add_argument(
        "--new",
        metavar="URL",
        help="the page of a running database-exporter; without it the server of --config.file or DATA_SOURCE_NAME is "
        f"read from here, and without these it is {OURS}",
    )
    parser.add_argument("--server", metavar="NAME", help="which server of ours, where there are several")
    parser.add_argument(
        "--rules", action="extend", nargs="+", default=[], metavar="FILE", help="Prometheus rule files, or directories"
    )
    parser.add_argument(
        "--dashboards",
        action="extend",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Grafana dashboards, or directories",
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=3, help="readings; what differs has to do so in each (default: 3)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to say it (default: text)")


def run(args: argparse.Namespace) -> int:
    """Compare, and say what came out; see the constants for what is returned."""
    # What the log would say of a server is on its page.
    logging.getLogger("exporter.polling").setLevel(logging.CRITICAL)
    try:
        report = _report(args)
    except (PageError, QuestionError, ParserMissingError) as error:
        print(f"database-exporter compare: {error}", file=sys.stderr)
        return UNREADABLE
    if args.format == "json":
        print(json.dumps(report.document(), indent=2))
    else:
        # Without a terminal nothing is wrapped, so that the output can be searched.
        Console(highlight=False, soft_wrap=True).print(report.text(), end="")
    return SAME if report.clean else DIFFERENT


def _report(args: argparse.Namespace) -> Report:
    questions = [*from_rules(args.rules), *from_dashboards(args.dashboards)]
    old = pages.complete(args.old)
    theirs = pages.fetch(old)
    engine = _engine(old, theirs)
    source, address = _source(args, old, theirs)
    try:
        readings = _readings(old, address, source, args.rounds)
    finally:
        source.close()
    last = readings[-1]
    if last.after.value("db_up") == 0:
        raise PageError(f"ours does not reach {source.name}; database-exporter check says why")
    comparison = compare(readings, deviations.applying(deviations.of(engine), last.after))
    names = metric_names()
    judgements = judge(questions, last, comparison, lambda name: labels_of(name, names) is not None)
    states = {
        dict(labels)["collector"]: dict(labels)["state"]
        for labels in last.after.metrics.get("database_exporter_collector_state", {})
    }
    return Report(source.name, comparison, judgements, states)


def _engine(url: str, page: Page) -> str:
    """Which exporter's page it is, by the one metric that it always has."""
    for engine, metric in (("postgres", "pg_up"), ("mysql", "mysql_up")):
        if metric in page.metrics and "database_exporter_collector_state" not in page.metrics:
            if page.value(metric) == 0:
                raise PageError(f"the old exporter does not reach its server: {metric} is 0 on {pages.shown(url)}")
            return engine
    raise PageError(f"{pages.shown(url)} is no page of postgres_exporter or mysqld_exporter")


def _source(args: argparse.Namespace, old: str, theirs: Page) -> tuple[sources.Source, str | None]:
    if args.new is None and (args.config_file or any(os.environ.get(name, "").strip() for name in _SOURCES)):
        config = configuration(args)
        log.redact(passwords(config))
        here = sources.here(config, args.server, theirs)
        address = next(f"{item.host}:{item.port}" for item in config.servers if item.name == here.name)
        return here, address
    if args.new is None and pages.complete(OURS) == old:
        raise PageError(
            f"where is ours? {OURS} is the old page; name ours with --new URL, or give --config.file or "
            "DATA_SOURCE_NAME to have the server read from here"
        )
    running = sources.running(args.new or OURS, args.server, theirs)
    return running, running.address


def _readings(old: str, address: str | None, source: sources.Source, rounds: int) -> list[Reading]:
    before = source.read()
    found = []
    for _ in range(rounds):
        theirs = sources.of_one_server(pages.fetch(old), address)
        answered = time.monotonic()
        # What a scrape of somebody else has read just before would be shown once more.
        sources.pause(answered)
        after = source.read()
        found.append(Reading(before, theirs, after, time.monotonic() - answered, source.connected))
        before = after
    return found


def _rounds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("a number from 1 to 100")
    return int(text)

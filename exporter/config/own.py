"""What the user-defined queries of a server become, each checked against all the others and against what is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from exporter.collectors.mysql.heartbeat import heartbeat_of
from exporter.config.document import Document, Location
from exporter.config.errors import Problem
from exporter.config.model import ServerConfig
from exporter.config.queries import UserQuery, version
from exporter.declare import Collector, DeclarationError
from exporter.queries.build import collector
from exporter.queries.peer_file import read_queries_file

# The label `collector` has this for the exporter's upkeep.
_TAKEN = frozenset({"session"})


@dataclass(frozen=True, slots=True)
class Known:
    """What is ours: what the config may speak of, and what a user-defined query may not be called like.

    Attributes:
        collectors: The engine of each of our collectors.
        metrics: All our metrics.
        fixed: Those of them that a file of postgres_exporter can't replace either.
    """

    collectors: Mapping[str, str] = field(default_factory=dict)
    metrics: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()


def own_collectors(
    server: ServerConfig,
    known: Known,
    report: Callable[[Location, str], None],
    report_file: Callable[[str, str | Problem], None],
    directory: Path,
) -> tuple[Collector, ...]:
    """The collectors of a server's queries.

    Args:
        server: With its queries, each of which is sound in itself.
        known: What is ours.
        report: Notes a problem at a key of the server.
        report_file: Notes a problem of a file, or with it.
        directory: Where its relative path starts.
    """
    made = _of_queries(server, known, report)
    names = {own.name for own in made}
    beat = server.heartbeat
    if server.engine == "mysql" and beat is not None and beat.enabled:
        made.append(heartbeat_of(beat.database, beat.table, utc=beat.utc))
    for item in server.queries_files if server.engine == "postgres" else ():
        path = str(directory / item.file)
        read = read_queries_file(path, known.metrics, known.fixed, each_database=item.each_database)
        if read.failure:
            report_file(item.file, read.failure)
        for problem in read.problems:
            report_file(item.file, problem)
        for own in read.collectors:
            if own.name in names | known.collectors.keys():
                report_file(item.file, f"gives {own.name}, which is there already; remove it from one place")
            else:
                names.add(own.name)
                made.append(own)
    return tuple(made)


def files_loaded(server: ServerConfig, directory: Path) -> tuple[tuple[str, str, bool], ...]:
    """What is told of the files that a server's queries come from."""
    files = [str(directory / item.file) for item in server.queries_files] if server.engine == "postgres" else []
    read = {path: read_queries_file(path) for path in files}
    return tuple((path, one.digest, bool(one.failure or one.problems)) for path, one in read.items())


def _of_queries(server: ServerConfig, known: Known, report: Callable[[Location, str], None]) -> list[Collector]:
    made: list[Collector] = []
    sound: list[tuple[str, UserQuery]] = []
    for name, query in server.queries.items():
        here: Location = ("queries", name)
        if server.engine not in _engines(query):
            continue
        problems: list[tuple[Location, str]] = []
        if name in known.collectors.keys() | _TAKEN:
            problems.append((here, "is the name of a collector of the exporter; choose another"))
        for index, measure in enumerate(query.measures):
            if measure.name in known.metrics:
                message = "is a metric of the exporter; choose another name"
                problems.append(((*here, "measures", index, "name"), message))
        for at, message in problems:
            report(at, message)
        if problems:
            continue
        try:
            made.append(collector(name, query, server.engine))
        except DeclarationError as error:
            report(here, str(error))
        sound.append((name, query))
    _check_between(sound, report)
    return made


def _engines(query: UserQuery) -> tuple[str, ...]:
    """Where a query can run at all."""
    if query.engine or query.flavor:
        return (query.engine or "mysql",)
    return ("postgres",) if query.each_database or query.extension else ("postgres", "mysql")


def _check_between(queries: Iterable[tuple[str, UserQuery]], report: Callable[[Location, str], None]) -> None:
    for (first, one), (second, other) in combinations(queries, 2):
        if _apart(one, other):
            continue
        taken = {measure.name for measure in one.measures}
        for index, measure in enumerate(other.measures):
            if measure.name in taken:
                message = f"is fed by {first} too; choose another name, or tell them apart by since, below or role"
                report(("queries", second, "measures", index, "name"), message)


def _apart(one: UserQuery, other: UserQuery) -> bool:
    """Whether no server runs both."""
    if one.role and other.role and one.role != other.role:
        return True
    if one.flavor and other.flavor and one.flavor != other.flavor:
        return True
    return any(a.below and version(a.below) <= version(b.since) for a, b in ((one, other), (other, one)))


def check_names_of_queries(document: Document, servers: int) -> None:
    """Report a query of a server, or of the defaults, that is called like one which that server has already."""
    for index in range(servers):
        layers: list[Location] = [("queries",), ("defaults", "queries"), ("servers", index, "queries")]
        first: dict[str, Location] = {}
        for layer in layers:
            for path in document.keys:
                if path[:-1] != layer or not isinstance(path[-1], str):
                    continue
                before = first.setdefault(path[-1], path)
                if before != path:
                    message = f"is there already on line {document.keys[before][0]}; choose another name"
                    document.report(path, message, at_key=True)


def names_of_queries(document: Document, servers: Iterable[ServerConfig]) -> set[str]:
    """What `collectors:` may name besides ours."""
    written = {str(path[-1]) for path in document.keys if len(path) > 1 and path[-2] == "queries"}
    return written | {own.name for server in servers for own in server.own}

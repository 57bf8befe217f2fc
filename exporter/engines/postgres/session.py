"""One connection to PostgreSQL: read-only, with limits the server keeps and a watchdog for when it doesn't."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import psycopg
from psycopg import pq

from exporter.declare import Rows
from exporter.engines.deadline import WATCHDOG, Deadline
from exporter.engines.postgres import errors, libpq, values
from exporter.engines.postgres.errors import Login
from exporter.failure import Failure, Reason

# Statement timeouts in milliseconds. Coarse, so that one is set anew only when the time left really shrinks or grows.
_STEPS = (25, 50, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4500, 7000, 9000, 14_000, 19_000, 28_000,
          40_000, 57_000, 85_000, 114_000, 170_000, 285_000, 570_000, 855_000, 1_700_000, 3_400_000)  # fmt: skip


def server_limit(seconds: float) -> int | None:
    """Milliseconds that the server may spend if the client waits so many seconds; None if that is too few to ask."""
    margin = max(0.1, seconds * 0.05)
    room = (seconds - min(margin, seconds / 2)) * 1000
    return max((step for step in _STEPS if step <= room), default=None)


class PostgresSession:
    """A session on a server, or on whatever server a pooler lends for one transaction.

    It takes every connection for a pooler's until `settle` has found out that it isn't.

    Attributes:
        login: As whom it is connected.
        address: Where to, for people.
        pooled: Whether a pooler stands in between, so that nothing is ever set beyond a transaction.
        knows_system: Whether pg_control_system() answers; a refusal isn't asked for, and logged, twice.
        backend: The number of the process that serves it.
        unfinished: A user's statement may still be running there though the session is closed.
    """

    def __init__(self, pgconn: pq.abc.PGconn, login: Login, address: str, settings: Mapping[str, str]) -> None:
        self.login = login
        self.address = address
        self.pooled = True
        self.knows_system = True
        self.backend = pgconn.backend_pid
        self.unfinished = False
        self._pgconn = pgconn
        # Without conversion no byte can make the server fail; we decode with the database's own encoding. UTF8 in a
        # database that is UTF8 means that as well, and has psycopg decode.
        encoding = _parameter(pgconn, b"server_encoding")
        utf8 = encoding == "UTF8"
        self._settings = {**settings, "client_encoding": "UTF8" if utf8 else "SQL_ASCII"}
        self._limit = 0
        self._statements = 0
        self._quickest = float("inf")
        self._codec = values.codec(encoding)
        self._connection = psycopg.Connection(pgconn)
        self._connection.autocommit = True
        self._connection.prepare_threshold = None
        values.register(self._connection.adapters, self._codec, plain=utf8)
        # Statements with columns of types we can't read, rewritten so that the server gives them as text.
        self._rewritten: dict[tuple[str, frozenset[str]], tuple[tuple[str, ...], str]] = {}
        # Statements that are planned each time, since one that was planned before has failed.
        self._unprepared: set[bytes] = set()

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.closed

    @property
    def statements(self) -> int:
        """Statements sent so far, the session's own among them; several in one message count as one."""
        return self._statements

    @property
    def round_trip(self) -> float:
        """Seconds that the quickest message took: hardly more than the way to the server and back."""
        return self._quickest

    @property
    def tls(self) -> str | None:
        """Protocol and cipher, None if the connection is not encrypted."""
        return None if self.closed else libpq.tls(self._pgconn)

    @property
    def certificate_expiry(self) -> float | None:
        """When the certificate that the server has shown ends, in Unix seconds; None without TLS."""
        return None if self.closed else libpq.certificate_expiry(self._pgconn)

    def run(self, sql: str, deadline: Deadline) -> Rows:
        """Run one statement that returns rows or nothing.

        Numbers come as int or float, moments as Unix seconds, intervals as seconds, all else as text.

        Raises:
            Failure: `timeout` is broken when the watchdog had to end it, and isn't when the server did.
        """
        limit = server_limit(deadline.remaining())
        if limit is None:
            raise Failure(Reason.TIMEOUT, "no time was left to ask")
        if self.pooled:
            local = {name: literal(value) for name, value in self._settings.items()} | {"statement_timeout": str(limit)}
            return self._guarded(lambda: self._in_transaction(sql, local, "COMMIT"), deadline)
        return self._guarded(lambda: self._within(limit, sql), deadline)

    def run_user_defined(self, sql: str, deadline: Deadline, labels: frozenset[str]) -> Rows:
        """Run a user's statement in a transaction that is rolled back, and its settings with it.

        DEFAULT is the search_path that the role, the database or the server has; behind a pooler, where a session may
        have been left with another one, too.

        Raises:
            Failure: As of `run`.
        """
        limit = server_limit(deadline.remaining())
        if limit is None:
            raise Failure(Reason.TIMEOUT, "no time was left to ask")
        kept = {name: literal(value) for name, value in self._settings.items()} if self.pooled else {}
        local = {**kept, "statement_timeout": str(limit), "search_path": "DEFAULT"}
        # Advisory locks outlive a rollback. Behind a pooler there may be somebody else's in the same session.
        end = "ROLLBACK" if self.pooled else "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()"
        try:
            return self._guarded(lambda: self._in_transaction(sql, local, end, labels), deadline)
        finally:
            # A function may catch what the server ends a statement with.
            self.unfinished = self.closed and not self.pooled

    def settle(self, deadline: Deadline, more: Mapping[str, str], *, anyway: bool = False) -> None:
        """Make the settings, and `more` (SQL expressions), for the whole session, unless a pooler stands in between.

        Behind a pooler the process that runs this isn't the one that the greeting named. One statement both looks and
        sets, since between two a pooler could change the server. `anyway` takes the word of a config for it.

        Raises:
            Failure: As of `run`.
        """
        wanted = {**{name: literal(value) for name, value in self._settings.items()}, **more}
        made = ", ".join(f"pg_catalog.set_config('{name}', {value}, false)" for name, value in wanted.items())
        ours = "true" if anyway else f"pg_catalog.pg_backend_pid() = {self._pgconn.backend_pid}"
        sql = f"SELECT CASE WHEN {ours} THEN pg_catalog.concat({made}) END"
        [(done,)] = self._guarded(lambda: self._fetch(sql), deadline).rows
        if done is not None:
            self.pooled = False
            self._limit = int(self._settings["statement_timeout"])
            # To read and to plan a query on the statistics views costs the server more than to run it. What comes
            # again it shall know already.
            self._connection.prepare_threshold = 1

    def close(self) -> None:
        """Close the connection without waiting for the server."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def _guarded(self, work: Callable[[], Rows], deadline: Deadline) -> Rows:
        if self.closed:
            raise Failure(Reason.CONNECT, "the connection is gone")
        rows = Rows((), [])
        failure: Failure | None = None
        with WATCHDOG.guard(self._pgconn.socket, deadline) as guard:
            started = time.monotonic()
            try:
                rows = work()
            except psycopg.Error as error:
                failure = self._failure(error, fired=guard.fired)
            else:
                self._quickest = min(self._quickest, time.monotonic() - started)
        if guard.fired or (failure and failure.broken):
            self.close()
        if failure:
            raise failure
        return rows

    def _within(self, limit: int, sql: str) -> Rows:
        if limit != self._limit:
            self._execute(f"SET statement_timeout = {limit}")
            self._limit = limit
        return self._fetch(sql)

    def _in_transaction(
        self, sql: str, local: Mapping[str, str], end: str, labels: frozenset[str] = frozenset()
    ) -> Rows:
        begin = ["BEGIN READ ONLY", *(f"SET LOCAL {name} = {value}" for name, value in local.items())]
        with self._nothing_prepared():
            try:
                self._execute("; ".join(begin))
                rows = self._fetch(sql, labels)
            except psycopg.Error:
                # Of a transaction that failed nothing is committed; a lost connection has taken its own along.
                with contextlib.suppress(psycopg.Error):
                    self._execute(end)
                raise
            self._execute(end)
        return rows

    @contextlib.contextmanager
    def _nothing_prepared(self) -> Iterator[None]:
        """Prepare nothing, and keep what is, which psycopg would drop for a ROLLBACK."""
        threshold, self._connection.prepare_threshold = self._connection.prepare_threshold, None
        try:
            yield
        finally:
            self._connection.prepare_threshold = threshold

    def _fetch(self, sql: str, labels: frozenset[str] = frozenset()) -> Rows:
        self._statements += 1
        columns, statement = self._rewritten.get((sql, labels), (None, sql))
        text = statement.encode(self._codec, "replace")
        prepare = False if text in self._unprepared else None
        try:
            cursor = self._connection.execute(text, prepare=prepare, binary=True)
        except (
            psycopg.errors.FeatureNotSupported,
            psycopg.errors.InvalidSqlStatementName,
            psycopg.errors.DuplicatePreparedStatement,
        ):
            # A view has other columns than it had, as after ALTER EXTENSION ... UPDATE, or somebody discarded what
            # the server knew, or gave its name to something else.
            if prepare is False or self._connection.prepare_threshold is None:
                raise
            self._unprepared.add(text)
            self._statements += 1
            cursor = self._connection.execute(text, prepare=False, binary=True)
        result = cursor.pgresult
        if result is None or not result.nfields:
            return Rows((), [])
        if columns is None:
            columns = tuple((result.fname(i) or b"").decode(self._codec, "replace") for i in range(result.nfields))
            readable = [
                result.ftype(i) in (values.PLAIN if column in labels else values.KNOWN)
                for i, column in enumerate(columns)
            ]
            if not all(readable):
                self._rewritten[sql, labels] = columns, _as_text(sql, readable)
                return self._fetch(sql, labels)
        try:
            return Rows(columns, cursor.fetchall())
        except UnicodeDecodeError:
            # Names and texts of other databases come in their own encodings. From now on every value is read anyhow.
            values.register(self._connection.adapters, self._codec)
            return self._fetch(sql, labels)

    def _execute(self, sql: str) -> None:
        self._statements += 1
        self._connection.execute(sql.encode(), prepare=False)

    def _failure(self, error: psycopg.Error, *, fired: bool) -> Failure:
        if fired:
            return Failure(Reason.TIMEOUT, "the server did not answer in time", broken=True)
        text = error.diag.message_primary or str(error)
        return errors.failure(error.sqlstate, text, self.login, broken=self.closed)


def literal(value: str) -> str:
    """A string as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _parameter(pgconn: pq.abc.PGconn, name: bytes) -> str | None:
    value = pgconn.parameter_status(name)
    return value.decode("ascii", "replace") if value else None


def _as_text(sql: str, readable: list[bool]) -> str:
    names = [f"c{index}" for index in range(len(readable))]
    selected = [name if plain else f"{name}::text" for name, plain in zip(names, readable, strict=True)]
    return f"SELECT {', '.join(selected)} FROM ({sql.rstrip().rstrip(';')}\n) AS result({', '.join(names)})"

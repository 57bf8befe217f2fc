"""What happens on the demo's servers: projects at work, bursts, slow queries, deadlocks, growth, a lagging standby."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from functools import partial

import psycopg
import pymysql

from exporter.demo.servers import DemoServer, postgres_login

PROJECTS = ("shop", "blog", "billing")
BURST_CONNECTIONS = 15
BURST_EVERY = 20.0
SLOW_EVERY = 7.0
SLOW_SECONDS = 1.2
DEADLOCK_EVERY = 15.0
LAG_EVERY = 25.0
LAG_SECONDS = 8.0
ROLLBACKS = 0.05
GROWTH_ROWS = 2_000
# The table ends somewhere, so that a demo that is forgotten does not fill the disk.
GROWTH_LIMIT = 400_000


class Workload:
    """Threads that each repeat one thing until the demo ends; what fails is tried again."""

    def __init__(self, servers: list[DemoServer]) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        for server in servers:
            if server.name == "standby":
                self._run(partial(self._lag, postgres_login(server)))
            elif server.engine == "postgres":
                self._start_postgres(server)
            else:
                self._start_mysql(server)

    def stop(self) -> None:
        """End it; the servers end what is still running there."""
        self._stop.set()
        for thread in self._threads:
            thread.join(SLOW_SECONDS + 2)

    def _start_postgres(self, server: DemoServer) -> None:
        login = postgres_login(server, "platform")
        with psycopg.connect(login, autocommit=True) as session:
            for project in PROJECTS:
                session.execute(f"CREATE SCHEMA {project}")
                session.execute(
                    f"CREATE TABLE {project}.events (id bigserial PRIMARY KEY, created_at timestamptz DEFAULT now(), "
                    "kind text NOT NULL, payload text)"
                )
                session.execute(f"CREATE INDEX idx_events_kind ON {project}.events (kind)")
            session.execute("CREATE TABLE shop.stock AS SELECT id, 10 AS pieces FROM generate_series(1, 2) AS id")
            # Nothing ever looks for a payload.
            session.execute("CREATE INDEX idx_events_payload ON shop.events (md5(payload))")

        def each(act: Callable[[psycopg.Connection], None], pause: float) -> Callable[[], None]:
            def repeat() -> None:
                with psycopg.connect(login, autocommit=True, application_name="demo") as session:
                    while not self._stop.wait(pause * random.uniform(0.5, 1.5)):  # noqa: S311 - a workload
                        act(session)

            return repeat

        for project in PROJECTS:
            self._run(each(_read_and_write(project), 0.05))
        self._run(each(_grow, 0.5))
        self._run(each(lambda session: void(session.execute(f"SELECT pg_sleep({SLOW_SECONDS})")), SLOW_EVERY))
        self._run(partial(self._burst, login))
        for first, second in ((1, 2), (2, 1)):
            self._run(partial(self._deadlock, login, first, second))

    def _burst(self, login: str) -> None:
        while not self._stop.wait(BURST_EVERY):
            with contextlib.ExitStack() as stack:
                for _ in range(BURST_CONNECTIONS):
                    stack.enter_context(psycopg.connect(login, application_name="burst"))
                self._stop.wait(6)

    def _deadlock(self, login: str, first: int, second: int) -> None:
        with psycopg.connect(login, autocommit=True, application_name="demo") as session:
            while True:
                # Both threads go by the clock, so that they meet.
                if self._stop.wait(DEADLOCK_EVERY - time.time() % DEADLOCK_EVERY):
                    return
                with contextlib.suppress(psycopg.errors.DeadlockDetected), session.transaction():
                    session.execute("SELECT FROM shop.stock WHERE id = %s FOR UPDATE", (first,))
                    session.execute("SELECT pg_sleep(0.3)")
                    session.execute("SELECT FROM shop.stock WHERE id = %s FOR UPDATE", (second,))

    def _lag(self, login: str) -> None:
        while not self._stop.wait(LAG_EVERY):
            with psycopg.connect(login, autocommit=True, application_name="demo") as session:
                session.execute("SELECT pg_wal_replay_pause()")
                self._stop.wait(LAG_SECONDS)
                session.execute("SELECT pg_wal_replay_resume()")

    def _start_mysql(self, server: DemoServer) -> None:
        def connect() -> pymysql.Connection[pymysql.cursors.Cursor]:
            return pymysql.connect(
                host="127.0.0.1", port=server.port, user="app", password=server.exporter_password, database="forum",
                autocommit=True, connect_timeout=5, read_timeout=10,
            )  # fmt: skip

        with connect() as session, session.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE posts (id bigint AUTO_INCREMENT PRIMARY KEY, body text, author int, KEY (author))"
            )

        def talk() -> None:
            with connect() as session, session.cursor() as cursor:
                while not self._stop.wait(0.1):
                    cursor.execute("INSERT INTO posts (body, author) VALUES (REPEAT('x', 500), FLOOR(RAND() * 100))")
                    cursor.execute("SELECT count(*) FROM posts WHERE author = FLOOR(RAND() * 100)")

        def wait() -> None:
            with connect() as session, session.cursor() as cursor:
                while not self._stop.wait(SLOW_EVERY):
                    cursor.execute(f"SELECT SLEEP({SLOW_SECONDS})")

        self._run(talk)
        self._run(wait)

    def _run(self, act: Callable[[], None]) -> None:
        def forever() -> None:
            while not self._stop.is_set():
                # A server that is restarted or stopped under the demo is part of the show.
                with contextlib.suppress(psycopg.Error, pymysql.err.Error, OSError):
                    act()
                self._stop.wait(1)

        thread = threading.Thread(target=forever, name="workload", daemon=True)
        thread.start()
        self._threads.append(thread)


def _read_and_write(project: str) -> Callable[[psycopg.Connection], None]:
    def act(session: psycopg.Connection) -> None:
        kind = random.choice(["click", "order", "login"])  # noqa: S311 - a workload
        session.execute(f"INSERT INTO {project}.events (kind, payload) VALUES (%s, %s)", (kind, str(time.time())))
        session.execute(f"SELECT count(*) FROM {project}.events WHERE kind = %s AND id > 0", (kind,)).fetchone()
        if random.random() < ROLLBACKS:  # noqa: S311
            with session.transaction(force_rollback=True):
                session.execute(f"UPDATE {project}.events SET kind = 'never' WHERE id = 1")

    return act


def _grow(session: psycopg.Connection) -> None:
    session.execute(
        "INSERT INTO billing.events (kind, payload) SELECT 'invoice', repeat('x', 200) FROM generate_series(1, %s) "
        "WHERE (SELECT last_value FROM billing.events_id_seq) < %s",
        (GROWTH_ROWS, GROWTH_LIMIT),
    )


def void(_: object) -> None:
    """Take something and give nothing."""

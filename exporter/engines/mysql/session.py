"""One connection to MySQL or MariaDB: read-only, with limits that the server keeps and a watchdog where it doesn't."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, TypeVar

from exporter.declare import Rows
from exporter.engines.deadline import WATCHDOG, Deadline
from exporter.engines.mysql.errors import Asker, failure
from exporter.engines.mysql.lasted import LASTED
from exporter.failure import Failure, Reason
from exporter.own_sessions import OUR_USER, OWN_SCHEMA

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from exporter.engines.mysql.connection import ServerConnection
    from exporter.facts import Identity

log = logging.getLogger(__name__)
T = TypeVar("T")

# That long a session may take to forget what a user's statement has left in it.
RESET_SECONDS = 1.0
IDLE_SECONDS = 600  # after which the server gives up a session whose exporter is gone
# Behind a proxy a connection's number may be somebody else's. The process list makes a row of every session, in the way
# of those that connect; performance_schema finds one by its number, where it is on and we may read it.
_OURS = f"SELECT ID FROM information_schema.PROCESSLIST WHERE ID = {{}} AND USER = {OUR_USER}"
_OURS_AT_ONCE = f"""
SELECT PROCESSLIST_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = {{}} AND PROCESSLIST_USER = {OUR_USER}
UNION ALL
SELECT 'all are listed' FROM performance_schema.global_status
WHERE VARIABLE_NAME = 'Performance_schema_thread_instances_lost' AND VARIABLE_VALUE = '0' AND @@performance_schema
"""
UNLOGGED = "long_query_time=3600"
# MySQL logs what uses no index however quick it was, if it is told to, but not what looked at fewer rows than this; to
# set it an account needs SESSION_VARIABLES_ADMIN.
UNINDEXED = "min_examined_row_limit=18446744073709551615"
# Limits on statements are rounded to one of so many steps to each power of two.
_STEPS = 8
# A node of a Galera cluster would have us wait until it has applied what the cluster has, and refuse us while it is cut
# off from it: just when its figures are wanted.
_AT_ANY_NODE = ["wsrep_sync_wait=0", "wsrep_dirty_reads=1"]
_UNKNOWN_VARIABLE = "(error 1193)"
_INNODB = "innodb_lock_wait_timeout"
# The server's limit is this share of the time that is left, so that it gives up before the client does.
_SHARE = 0.95


class MySQLSession:
    """A session as exporter.engines.base.Session describes it. Column names of results are in lower case.

    `guarded` is a duplicate of the driver's socket, so that its number stays ours while the watchdog may use it.

    Attributes:
        connection_id: What KILL takes.
        flavor: `mysql`, `percona` or `mariadb`.
        version: As integers.
        version_text: As the server writes it.
        identity: Who answered last, None before somebody was asked.
        users_database: Where statements of users run; all others run in OWN_SCHEMA, which has their digests.
        role_denied: The server refused to tell about its replication; it isn't asked again over this session.
    """

    def __init__(self, connection: ServerConnection, guarded: socket.socket) -> None:
        self._connection = connection
        self._guarded = guarded
        self._limit = 0.0
        self._statements = 0
        self._quickest = float("inf")
        self._asker = Asker()
        self._settings: list[str] = []
        self._database = self.users_database = OWN_SCHEMA
        self.connection_id = int(connection.server_thread_id[0])
        self.flavor = "mysql"
        self.version: tuple[int, ...] = ()
        self.version_text = ""
        self.identity: Identity | None = None
        self.role_denied = False

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return not self._connection.open

    @property
    def tls(self) -> str | None:
        """Protocol and cipher of the connection, None if it is not encrypted."""
        encrypted = self._connection.encrypted
        return f"{encrypted.version()} {encrypted.cipher()[0]}" if encrypted else None

    @property
    def statements(self) -> int:
        """Statements sent so far, the session's own among them."""
        return self._statements

    @property
    def round_trip(self) -> float:
        """Seconds that the quickest of them took: hardly more than the way to the server and back."""
        return self._quickest

    @property
    def account(self) -> str:
        """Our account as GRANT takes it."""
        return self._asker.account

    def close(self) -> None:
        """Close the connection without waiting for the server."""
        with contextlib.suppress(Exception):
            self._connection.part()
        self._guarded.close()

    def prepare(self, deadline: Deadline, lock_seconds: float) -> None:
        """Learn what the server is and make the settings of the session, which waits that long for a lock."""
        # MariaDB says what it is before anything is asked of it, which may have to wait; Percona's cluster does not.
        early = "mariadb" in self._connection.server_version.lower()
        at_any_node = self._answer_at_any_node(deadline) if early else []
        [(text, comment, account)] = self._ask("SELECT @@version, @@version_comment, CURRENT_USER()", deadline).rows
        self.flavor, self.version, self.version_text = read_version(str(text), str(comment))
        user, _, host = str(account).rpartition("@")
        quoted = user.replace("'", "''")
        self._asker = Asker(f"'{quoted}'@'{host}'", self.flavor, self.version)
        settings, courtesies = session_settings(self.flavor, self.version, lock_seconds)
        if not early and _may_be_node(self.flavor, f"{text} {comment}"):
            at_any_node = self._answer_at_any_node(deadline)
        settings += at_any_node
        try:
            self._set_what_it_may(settings, courtesies, deadline)
        except Failure as refused:
            # MariaDB runs without InnoDB, too.
            if _UNKNOWN_VARIABLE not in refused.message or _INNODB not in refused.message:
                raise
            settings = [setting for setting in settings if not setting.startswith(_INNODB)]
            self._set_what_it_may(settings, courtesies, deadline)

    def _set_what_it_may(self, settings: list[str], courtesies: list[str], deadline: Deadline) -> None:
        attempts = [settings + courtesies, settings]
        # Also where it is off: it may be switched on while the session goes on.
        if self.flavor != "mariadb":
            attempts.insert(0, [*settings, *courtesies, UNINDEXED])
        for attempt in attempts:
            try:
                self._set(attempt, deadline)
                return
            except Failure as refused:
                if refused.reason is not Reason.PERMISSION or attempt is settings:
                    raise

    def run(self, sql: str, deadline: Deadline) -> Rows:
        """Run one statement; see exporter.engines.base.Session."""
        self._limit_to(deadline)
        return self._ask(sql, deadline)

    def run_user_defined(self, sql: str, deadline: Deadline, labels: frozenset[str]) -> Rows:  # noqa: ARG002
        """Run a user's statement, in the user's database; locks that it takes and what it sets end with it."""
        self._limit_to(deadline)
        try:
            self._enter(self.users_database, deadline)
            return self._ask(sql, deadline)
        finally:
            if not self.closed:
                self._start_over()

    def kill(self, connection_id: int, deadline: Deadline) -> None:
        """End another connection of our user and the statement that it runs, if it has not ended by itself."""
        if not self._is_ours(int(connection_id), deadline):
            return
        try:
            # Not KILL QUERY: where the server can't see that the client has gone, the connection would stay.
            self._ask(f"KILL {int(connection_id)}", deadline)
        except Failure as failed:
            if "(error 1094)" not in failed.message:
                raise

    def _limit_to(self, deadline: Deadline) -> None:
        limit = _server_limit(deadline)
        if limit != self._limit:
            self._ask("SET SESSION " + statement_limit(self.flavor, limit), deadline)
            self._limit = limit

    def _enter(self, database: str, deadline: Deadline) -> None:
        # No statement, so that it has no digest in either database.
        if database != self._database:
            self._guarded_by(lambda: self._connection.select_db(database), deadline)
            self._database = database

    def _is_ours(self, connection_id: int, deadline: Deadline) -> bool:
        # MariaDB has no index there.
        if self.flavor != "mariadb":
            try:
                found = [row[0] for row in self._ask(_OURS_AT_ONCE.format(connection_id), deadline).rows]
                if found:
                    return str(connection_id) in found
            except Failure as refused:
                if refused.reason is not Reason.PERMISSION:
                    raise
        return bool(self._ask(_OURS.format(connection_id), deadline).rows)

    def _answer_at_any_node(self, deadline: Deadline) -> list[str]:
        try:
            self._ask("SET " + ", ".join(f"SESSION {setting}" for setting in _AT_ANY_NODE), deadline)
        except Failure as refused:
            if _UNKNOWN_VARIABLE not in refused.message:
                raise
            return []
        return _AT_ANY_NODE

    def _set(self, settings: list[str], deadline: Deadline) -> None:
        self._ask("SET NAMES utf8mb4, " + ", ".join(f"SESSION {setting}" for setting in settings), deadline)
        self._settings = settings

    def _start_over(self) -> None:
        """Make the session what it was when it began; one that can't be made so is closed."""
        # The statement may have used up all of its own time.
        deadline = Deadline.after(RESET_SECONDS)
        try:
            self._guarded_by(self._connection.reset, deadline)
            self._limit = 0.0
            self._enter(OWN_SCHEMA, deadline)
            self._set(self._settings, deadline)
        except Failure as failed:
            log.warning("a session is closed, since a user's statement may have left something in it: %s", failed)
            self.close()

    def _ask(self, sql: str, deadline: Deadline) -> Rows:
        def answer() -> Rows:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                columns = tuple(str(column[0]).lower() for column in cursor.description or ())
                return Rows(columns, cursor.fetchall())

        return self._guarded_by(answer, deadline, sql)

    def _guarded_by(self, work: Callable[[], T], deadline: Deadline, sql: str = "") -> T:
        if self.closed:
            raise Failure(Reason.CONNECT, "the connection is closed")
        if deadline.passed:
            raise Failure(Reason.TIMEOUT, "no time was left to ask")
        self._statements += 1
        with WATCHDOG.guard(self._guarded.fileno(), deadline) as guard:
            started = time.monotonic()
            try:
                found = work()
            except Exception as error:  # noqa: BLE001 - whatever a driver raises ends here, as a reason
                met = error
            else:
                self._quickest = min(self._quickest, time.monotonic() - started)
                return found
            finally:
                if self.identity is not None:
                    LASTED.note(self.identity.system, time.monotonic() - started)
        if guard.fired:
            self.close()
            raise Failure(Reason.TIMEOUT, "the server did not answer in time", broken=True)
        refused = failure(met, self._asker, sql)
        if refused.broken or not self._connection.open:
            self.close()
            refused.broken = True
        raise refused from None


def read_version(version: str, comment: str) -> tuple[str, tuple[int, ...], str]:
    """Flavor, version as integers, and version as text, from @@version and @@version_comment."""
    text = version.removeprefix("5.5.5-")
    words = f"{text} {comment}".lower()
    flavor = "mariadb" if "mariadb" in words else "percona" if "percona" in words else "mysql"
    numbers: list[int] = []
    for part in text.split("-")[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return flavor, tuple(numbers), text


def _may_be_node(flavor: str, words: str) -> bool:
    # Percona's cluster calls itself one. Others would only count an error for each session.
    return flavor == "mariadb" or "wsrep" in words.lower() or "xtradb cluster" in words.lower()


def session_settings(flavor: str, version: tuple[int, ...], lock_seconds: float) -> tuple[list[str], list[str]]:
    """What every session sets, and what it sets as a courtesy where it may: our statements stay out of the slow log."""
    # Whole seconds, and at least one.
    wait = max(1, math.ceil(lock_seconds))
    settings = [
        f"lock_wait_timeout={wait}",
        f"{_INNODB}={wait}",
        f"wait_timeout={IDLE_SECONDS}",
        "autocommit=1",
        "sql_mode=''",
        # What a server says for all its sessions would cut our results, or refuse what looks at many rows.
        "sql_select_limit=18446744073709551615",
        "max_join_size=18446744073709551615",
        "sql_big_selects=1",
        "time_zone='+00:00'",
        # Names and sets are put together: MySQL cuts what is longer than this, 1,024 bytes by its own default.
        "group_concat_max_len=1048576",
    ]
    courtesies = [UNLOGGED]
    if flavor == "mariadb":
        settings.append("transaction_read_only=1" if version >= (11, 1, 1) else "tx_read_only=1")
        courtesies.append("slow_query_log=0")
        # Roles are followed through roles, which stops at the number without a word.
        settings.append("max_recursive_iterations=4294967295")
    else:
        settings.append("transaction_read_only=1" if version >= (5, 7, 20) else "tx_read_only=1")
        if version >= (8, 0, 3):
            # Sizes as they are, not as they were up to a day ago.
            settings.append("information_schema_stats_expiry=0")
            # Roles are followed through roles. What a small temporary table does not hold fails there.
            settings.append("cte_max_recursion_depth=4294967295")
            settings.append("tmp_table_size=16777216")
    return settings, courtesies


def statement_limit(flavor: str, seconds: float) -> str:
    """The setting that makes the server end a statement. MySQL's knows SELECT only, MariaDB's any statement."""
    if flavor == "mariadb":
        return f"max_statement_time={seconds:.6f}"
    return f"max_execution_time={max(1, int(seconds * 1000))}"


def _server_limit(deadline: Deadline) -> float:
    """Seconds that the server may take: of eight steps to each power of two the one below what is left.

    So it is at most a twelfth less than that, and seldom has to be set anew.
    """
    left = max(deadline.remaining() * _SHARE, 0.001)
    return float(2.0 ** (math.floor(math.log2(left) * _STEPS) / _STEPS))

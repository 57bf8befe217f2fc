"""What results hold on real MySQL and MariaDB, against the same statement through PyMySQL as it comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.engines.deadline import Deadline
from exporter.engines.mysql.engine import MYSQL
from exporter.engines.mysql.session import MySQLSession
from exporter.failure import Failure
from tests.providers.base import DatabaseServer
from tests.servers.collecting import config_of

pytestmark = pytest.mark.engine("mysql")

_DIGITS = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(50))
# More rows than are taken apart at once.
_MANY = f"(SELECT tens.n * 50 + ones.n AS n FROM ({_DIGITS}) AS ones, ({_DIGITS}) AS tens) AS many"


@pytest.fixture(scope="module")
def session(server: DatabaseServer) -> Iterator[MySQLSession]:
    opened = MYSQL.connect(config_of(server, server.account(name="result_reader", limit=20)), Deadline.after(20))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "sql",
    [
        f"""SELECT n, IF(n % 3 = 0, NULL, n), REPEAT('x', n % 260), IF(n % 2, REPEAT('é', 40000 * (n = 7)), NULL),
                   n / 7, n * 1e-3, -n, CAST(n AS CHAR), n = 5, 'the same', NULL
            FROM {_MANY} ORDER BY n""",
        # One short value, which looks like what ends a result, and none at all.
        "SELECT '' UNION ALL SELECT NULL UNION ALL SELECT 'x'",
        "SELECT 1 FROM (SELECT 1) AS one WHERE 1 = 0",
        "SELECT 18446744073709551615, -9223372036854775808, 0.1e0, 1.50, DATE '2024-02-29', TIME '-10:00:01'",
        *(f"SELECT REPEAT('x', {length}), 1" for length in (250, 251, 255, 256, 65535, 65536)),
        # As long as a packet can be, and longer.
        *(f"SELECT REPEAT('y', {length}) AS a, {more} AS b" for length, more in ((16777210, "''"), (16000000, "1"))),
        "SELECT REPEAT('y', 9000000) AS a, REPEAT('z', 9000000) AS b",
    ],
    ids=lambda sql: " ".join(sql.split())[:40],
)
def test_values_are_those_that_the_driver_reads(server: DatabaseServer, session: MySQLSession, sql: str) -> None:
    found = session.run(sql, Deadline.after(30)).rows
    expected = server.execute(sql)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        for value, other in zip(mine, theirs, strict=True):
            if isinstance(other, int | float) or other is None:
                assert (value, type(value)) == (other, type(other))
            elif isinstance(value, str) and not isinstance(other, str):
                assert value == ("-10:00:01" if "day" in str(other) else str(other))
            elif isinstance(other, str):
                assert value == other
            else:
                assert value == pytest.approx(float(other))


def test_an_error_among_the_rows_ends_the_statement_and_not_the_session(session: MySQLSession) -> None:
    sql = f"SELECT n, (SELECT two.n FROM (SELECT 1 AS n UNION ALL SELECT 2) AS two WHERE two.n = 1 OR many.n > 1200) \
            FROM {_MANY} ORDER BY n"
    with pytest.raises(Failure, match="1242") as caught:
        session.run(sql, Deadline.after(10))
    assert not caught.value.broken
    assert session.run("SELECT 7", Deadline.after(10)).rows == [(7,)]

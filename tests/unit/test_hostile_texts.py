"""What clients can write into texts and logs takes no more time than its length."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from exporter.subjects.logs.fingerprint import normalized
from exporter.subjects.logs.lines import LogParser
from exporter.subjects.logs.mysql_slow import SlowLog
from exporter.subjects.logs.postgres_csv import CSVLog
from exporter.subjects.logs.postgres_json import JSONLog
from exporter.subjects.logs.postgres_stderr import StderrLog
from exporter.subjects.statements.digests import shown
from exporter.subjects.statements.literals import without_literals

LENGTH = 65_536
# Seconds of a processor: ten times what it takes.
ENOUGH = 1.5


class TooLongError(BaseException):
    """No Exception, since parsers catch these."""


@contextmanager
def bounded() -> Iterator[None]:
    """Fail after so much time of a processor, which others on this machine don't take from us.

    Regular expressions look at signals now and then, so even one that would never end is stopped.
    """

    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENOUGH)
    try:
        yield
    except TooLongError:
        pytest.fail(f"more than {ENOUGH} s of a processor")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


DELIMITERS = [
    "/**/", "/* ", "/*/", "*/", "-- ", "--\n", "#\n", "'", "''", "\\'", '"', "`", "$a", "$a$", "$$", "e'", " ", "\t \n",
    "(", "?,", "1e", "1.", "@/ ", ", Version: ", "(1,'a'),", ";",
]  # fmt: skip
READERS: dict[str, Callable[[str], object]] = {
    "shown": shown,
    "without_literals": without_literals,
    "normalized, PostgreSQL": lambda text: normalized(text, "postgres"),
    "normalized, MySQL": lambda text: normalized(text, "mysql"),
}
# Parsers, and what a line begins with that is theirs.
MOMENT = "2026-11-22 17:48:48.513 UTC"
CSV = f'{MOMENT},"u","d",1,"h:1",6b.1,1,"SELECT",{MOMENT},3/8,0,LOG,00000,"duration: 1.500 ms  '
JSON = '{"dbname":"d","error_severity":"LOG","message":"duration: 1.500 ms  '
SLOW = "# Time: 2026-11-22T17:51:27.641751Z\n# User@Host: "
PARSERS: dict[str, tuple[Callable[[], LogParser], str]] = {
    "prefix with names": (lambda: StderrLog("%m [%p] %q%u@%d/%a "), f"{MOMENT} [12] "),
    "prefix with more": (lambda: StderrLog("user=%u,db=%d,app=%a,client=%h "), "user="),
    "prefix with spaces": (lambda: StderrLog("%u %d %a %r "), ""),
    "no prefix": (lambda: StderrLog(""), "LOG:  duration: 1.500 ms  "),
    "csv": (CSVLog, CSV),
    "csv, between": (CSVLog, f"{MOMENT},"),
    "json": (JSONLog, JSON),
    "slow log": (SlowLog, SLOW),
    "slow log, costs": (SlowLog, f"{SLOW}a[a] @ \n# Query_time: 1.5  Lock_time: 0 Schema: "),
    "slow log, schema": (SlowLog, f"{SLOW}a[a] @ \n# Schema: "),
    "slow log, text": (SlowLog, f"{SLOW}a[a] @ \n# Query_time: 1.5  Lock_time: 0\n"),
}


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("reader", READERS)
def test_a_statement(reader: str, delimiter: str) -> None:
    repeated = delimiter * (LENGTH // 2 // len(delimiter))
    with bounded():
        for text in (repeated, f"{repeated} SELECT a FROM t", f"SELECT '{repeated}"):
            READERS[reader](text)


IN_LOGS = [
    "/**/", "@/ ", ",db=,app=,client= ", " ", "a ", ", Version: ", "'", '"', '""', '","', "[", "Query_time: 1",
    "LOG:  ", "@/ LOG:  ",
    "Schema: ", "as ", "Query Text: ", "(cost=", "\t", "\r", "1",
]  # fmt: skip


@pytest.mark.parametrize("delimiter", IN_LOGS)
@pytest.mark.parametrize("name", PARSERS)
def test_a_log(name: str, delimiter: str) -> None:
    make, head = PARSERS[name]
    repeated = delimiter * (LENGTH // len(delimiter))
    parser = make()
    with bounded():
        # A plain log's prefix is looked for in the beginning of a line.
        for text in (
            repeated,
            f"{repeated[: LENGTH // 2]}x",
            f"plan:\n{repeated}",
            f"ANWEISUNG:  {repeated[:1900]} LOG:  ",
        ):
            parser.feed(f"{head}{text}\n{head}\n".encode())
            parser.flush()

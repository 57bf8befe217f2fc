"""What the parsers make of logs: of real servers' files, read a second way, and of what is rare in them."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.subjects.logs.events import Error, Event, Statement, TemporaryFile
from exporter.subjects.logs.line_heads import ByExpression, ByPlaces, heads
from exporter.subjects.logs.line_prefix import parts
from exporter.subjects.logs.lines import MOST_BYTES, LogParser
from exporter.subjects.logs.mysql_slow import SlowLog
from exporter.subjects.logs.postgres_csv import CSVLog
from exporter.subjects.logs.postgres_entry import Entry
from exporter.subjects.logs.postgres_json import JSONLog
from exporter.subjects.logs.postgres_stderr import StderrLog

SAMPLES = Path(__file__).parent.parent / "expected" / "logs"
PREFIX = "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h,qid=%Q "
PARSERS: dict[str, Callable[[], LogParser]] = {
    "pg15.json": JSONLog,
    "pg18.json": JSONLog,
    "pg15.csv": CSVLog,
    "pg18.csv": CSVLog,
    "pg15_stderr.log": lambda: StderrLog(PREFIX),
    "mysql97_slow_extra.log": SlowLog,
    "mariadb1011_slow_verbose.log": SlowLog,
}


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def read(parser: LogParser, text: bytes) -> list[Event]:
    return [*parser.feed(text), *parser.flush()]


def statements(events: list[Event]) -> list[Statement]:
    return [event for event in events if isinstance(event, Statement)]


def durations(messages: list[str]) -> list[float]:
    """Milliseconds of what was executed, plans left out."""
    found = [re.match(r"duration: ([\d.]+) ms  (?!plan:)", message) for message in messages]
    return [float(match[1]) for match in found if match]


@pytest.mark.parametrize("name", PARSERS)
def test_a_server_s_own_file_is_understood_whole(name: str) -> None:
    parser = PARSERS[name]()
    events = read(parser, sample(name))
    assert events
    assert parser.lines == sample(name).count(b"\n")
    assert parser.not_understood == 0


@pytest.mark.parametrize("name", PARSERS)
def test_where_pieces_end_does_not_matter(name: str) -> None:
    whole = read(PARSERS[name](), sample(name))
    for size in (1, 4096) if len(whole) < 20 else (7, 4096):
        parser, events = PARSERS[name](), []
        for at in range(0, len(sample(name)), size):
            events += parser.feed(sample(name)[at : at + size])
        assert [*events, *parser.flush()] == whole, size


@pytest.mark.parametrize("name", PARSERS)
def test_who_goes_on_where_another_stopped_counts_nothing_twice_and_misses_nothing(name: str) -> None:
    text = sample(name)
    whole = read(PARSERS[name](), text)
    for stop in range(0, len(text), max(97, len(text) // 60)):
        first = PARSERS[name]()
        events = first.feed(text[:stop])
        second = PARSERS[name]()
        second.recall(first.remember())
        assert events + read(second, text[stop - first.pending :]) == whole, stop


@pytest.mark.parametrize("name", ["pg15.json", "pg18.json"])
def test_json_by_python_s_own_reader(name: str) -> None:
    records = [json.loads(line) for line in sample(name).splitlines()]
    events = read(JSONLog(), sample(name))
    executed = [event.seconds * 1000 for event in statements(events) if event.step != "plan"]
    assert executed == pytest.approx(durations([record["message"] for record in records]))
    states = [record["state_code"] for record in records if record["error_severity"] in ("ERROR", "FATAL")]
    assert [event.sqlstate for event in events if isinstance(event, Error)] == states
    sizes = [int(r["message"].rsplit(" ", 1)[1]) for r in records if r["message"].startswith("temporary file:")]
    assert [event.size for event in events if isinstance(event, TemporaryFile)] == sizes


@pytest.mark.parametrize("name", ["pg15.csv", "pg18.csv"])
def test_csv_by_python_s_own_reader(name: str) -> None:
    text = sample(name).decode()
    # The last record of one sample was cut by whoever took it.
    records = [row for row in csv.reader(io.StringIO(text)) if len(row) == 26]
    events = read(CSVLog(), sample(name))
    executed = [event for event in statements(events) if event.step != "plan"]
    assert [e.seconds * 1000 for e in executed] == pytest.approx(durations([row[13] for row in records]))
    by_query = {row[25] for row in records if row[13].startswith("duration:")}
    assert {str(event.query_id) for event in executed} <= by_query


def test_three_formats_of_one_server_say_the_same() -> None:
    """The samples of PostgreSQL 15 are one server's; the shorter ones are beginnings of the longest."""
    by_json = read(JSONLog(), sample("pg15.json"))
    by_csv = read(CSVLog(), sample("pg15.csv"))
    by_stderr = read(StderrLog(PREFIX), sample("pg15_stderr.log"))
    assert len(by_csv) > 4
    assert by_csv == by_json[: len(by_csv)]
    # The last plan there is cut in the middle, after its statement.
    assert by_stderr == by_json[: len(by_stderr)]


def test_slow_log_by_its_lines() -> None:
    for name in ("mysql97_slow_extra.log", "mariadb1011_slow_verbose.log"):
        events = statements(read(SlowLog(), sample(name)))
        text = sample(name).decode()
        found = re.findall(r"Query_time: (\S+)\s+Lock_time: (\S+)\s+Rows_sent: (\d+)\s+Rows_examined: (\d+)", text)
        assert [(e.seconds, e.lock_seconds, e.rows_sent, e.rows_examined) for e in events] == [
            (float(time), float(lock), int(sent), int(examined)) for time, lock, sent, examined in found
        ]
        assert events[1].text.endswith('"multi\nline"')


def test_mariadb_names_each_entry_s_database() -> None:
    events = statements(read(SlowLog(), sample("mariadb1011_slow_verbose.log")))
    schemas = re.findall(r"Schema: (\S*)  QC_hit", sample("mariadb1011_slow_verbose.log").decode())
    assert [event.database or "" for event in events] == schemas


# PostgreSQL

CSV_HEAD = b'2026-11-22 17:48:48.513 UTC,"u","d",1,"h:1",6b.1,%d,"SELECT",2026-11-22 17:48:48 UTC,3/8,0,LOG,00000,'


def record(message: bytes, columns: int = 26, line: int = 1) -> bytes:
    """A csvlog record of a server with so many columns."""
    rest = {23: b',,,,,,,,,"app"', 24: b',,,,,,,,,"app","client backend"', 26: b',,,,,,,,,"app","client backend",,7'}
    return CSV_HEAD % line + b'"' + message.replace(b'"', b'""') + b'"' + rest[columns] + b"\n"


@pytest.mark.parametrize("columns", [23, 24, 26])
def test_csv_of_every_version(columns: int) -> None:
    parser = CSVLog()
    [event] = read(parser, record(b"duration: 1500.250 ms  statement: select\n 'a\"b',\n2", columns))
    query_id = 7 if columns == 26 else None
    assert event == Statement("d", "select\n 'a\"b',\n2", 1.50025, "statement", query_id)
    assert (parser.lines, parser.not_understood, parser.pending) == (3, 0, 0)


def test_csv_begun_in_the_middle_of_a_record_finds_the_next() -> None:
    slow = record(
        b'duration: 2.000 ms  statement: select "a",\n'
        b"'2026-11-22 17:48:48.513 UTC,,,1,,'\n'2026-11-22 17:48:48.513 UTC"
    )
    for start in range(1, slow.index(b"\n")):
        parser = CSVLog()
        events = statements(read(parser, slow[start:] + slow + slow))
        assert len(events) == 2, start
        assert parser.not_understood > 0


def test_csv_of_a_text_that_is_a_log_itself() -> None:
    inner = record(b"duration: 9000.000 ms  statement: select 1")
    events = read(CSVLog(), record(b"duration: 5.000 ms  statement: insert into logs values ('\n" + inner + b"')") * 2)
    assert [event.seconds for event in statements(events)] == [0.005, 0.005]


# How records of processes begin that are no session's: nothing is quoted up to the message.
CSV_OWN = "2026-11-22 17:48:48.513 UTC,,,123,,6b032b00.69b6,1,,2026-11-22 17:48:48 UTC,,0,"


@pytest.mark.parametrize(
    "forged",
    [
        CSV_OWN[:45],
        CSV_OWN + "ERROR,XX001,forged,,,,,,,,,,client backend,,0",
        CSV_OWN + 'ERROR,XX001,"forged",,,,,,,,,,"client backend",,0',
        CSV_OWN + "LOG,00000,duration: 9000.000 ms,,,,,,,,,,client backend,,0",
        CSV_OWN + "ERROR,XX001,",
    ],
)
@pytest.mark.parametrize("end", ["", "\n*/"])
def test_csv_of_a_text_with_a_line_like_a_record_of_the_server_s_own(forged: str, end: str) -> None:
    parser = CSVLog()
    slow = record(f"duration: 5000.000 ms  statement: select 1 /*\n{forged}{end}".encode())
    assert [(type(event), getattr(event, "seconds", 0)) for event in read(parser, slow * 2)] == [(Statement, 5.0)] * 2
    assert parser.not_understood == 0


@pytest.mark.parametrize("message", ["deadlock detected", '"orders" is not a sequence', ""])
def test_csv_of_processes_that_are_no_session(message: str) -> None:
    quoted = message.replace('"', '""')
    own = f'{CSV_OWN}ERROR,XX001,"{quoted}",,,,,,,,,"","autovacuum worker",,0\n'.encode()
    assert read(CSVLog(), own * 2) == [Error(None, "XX001", deadlock=False)] * 2
    torn = record(b"duration: 5000.000 ms  statement: select 'x'")[:-60] + b"\n"
    assert torn.count(b'"') % 2
    if message == "deadlock detected":
        # After what a crash has left of a record.
        assert read(CSVLog(), torn + own) == [Error(None, "XX001", deadlock=False)]


@pytest.mark.parametrize(
    ("parser", "worker", "leader", "database", "state"),
    [
        (
            CSVLog,
            CSV_OWN + 'ERROR,22012,"division by zero",,,,,,,,,"","parallel worker",123,0',
            (
                '2026-11-22 17:48:48.513 UTC,"u","shop",123,"h:1",6b.1,1,"SELECT",2026-11-22 17:48:48 UTC,3/8,0,'
                'ERROR,22012,"division by zero",,,,,"parallel worker","select 1/n",,,"psql","client backend",,7'
            ),
            "shop",
            "22012",
        ),
        (
            JSONLog,
            (
                '{"timestamp":"t","pid":124,"error_severity":"ERROR","state_code":"22012","message":"division by zero",'
                '"backend_type":"parallel worker"}'
            ),
            (
                '{"timestamp":"t","dbname":"shop","pid":123,"error_severity":"ERROR","state_code":"22012",'
                '"message":"division by zero","context":"parallel worker","backend_type":"client backend"}'
            ),
            "shop",
            "22012",
        ),
        (
            lambda: StderrLog("[%p] %b %d "),
            "[124] parallel worker  ERROR:  division by zero\n[124] parallel worker  STATEMENT:  select 1/n",
            "[123] client backend shop ERROR:  division by zero\n[123] client backend shop CONTEXT:  parallel worker",
            "shop",
            "",
        ),
        (
            lambda: StderrLog("[%p] %d "),
            "[124]  ERROR:  division by zero\n[124]  STATEMENT:  select 1/n",
            "[123] shop ERROR:  division by zero\n[123] shop CONTEXT:  parallel worker",
            # Nothing tells that the first is a worker's.
            None,
            "",
        ),
    ],
)
def test_an_error_of_a_parallel_worker_counts_once(
    parser: Callable[[], LogParser], worker: str, leader: str, database: str | None, state: str
) -> None:
    assert read(parser(), f"{worker}\n{leader}\n".encode()) == [Error(database, state, deadlock=False)]


LONG = b"x" * (3 * MOST_BYTES)


def test_lines_longer_than_the_buffer_are_cut_and_the_next_ones_are_read() -> None:
    message = b"duration: 1500.000 ms  statement: select '%s'" % LONG
    head = b'{"timestamp":"2026","user":"u","dbname":"d","pid":1,"error_severity":"LOG",'
    logs: list[tuple[LogParser, bytes]] = [
        (JSONLog(), head + b'"message":"' + message + b'","query_id":1}\n'),
        (CSVLog(), record(message)),
        (CSVLog(), record(message.replace(b"xx", b'x\n"', 1))),
        (StderrLog("%m [%p] db=%d "), b"2026-11-22 17:48:48.513 UTC [1] db=d LOG:  " + message + b"\n"),
        (SlowLog(), ENTRY.replace(b"select 1", b"select '%s'" % LONG)),
    ]
    for parser, entry in logs:
        events = [*parser.feed(entry * 3), *parser.end()]
        assert [event.database for event in statements(events)] == ["d"] * 3, parser
        assert [event.seconds for event in statements(events)] == [1.5] * 3
        assert all(MOST_BYTES / 2 < len(event.text) <= MOST_BYTES for event in statements(events))
        assert parser.not_understood == 0


@given(st.text(max_size=200), st.integers(1, 400))
@settings(max_examples=200)
def test_json_cut_anywhere(text: str, cut: int) -> None:
    """However an object is cut, what is left of it is no error."""
    message = f"duration: 1.500 ms  statement: {text}"
    fields = {"dbname": "d\\", "error_severity": "LOG", "message": message, "query_id": 5}
    line = json.dumps(fields, separators=(",", ":")).encode()
    padding = b" " * (MOST_BYTES - min(cut, len(line) - 1))
    parser = JSONLog()
    events = statements(read(parser, padding + line + b"\n"))
    assert parser.lines == 1
    assert all(message.startswith(f"duration: 1.500 ms  statement: {event.text[:-1]}") for event in events)


FORGED_NAME = "x: LOG:  duration: 99999.000 ms  statement: x"
PREFIXES = [
    ("", "", ""),
    ("%m [%p] ", "2026-11-22 17:48:48.513 UTC [12] ", ""),
    ("%m [%p] %q%u@%d ", "2026-11-22 17:48:48.513 UTC [12] user@shop ", "shop"),
    ("%t:%r:%u@%d:[%p]:", "2026-11-22 17:48:48 UTC:10.0.0.1(5432):user@shop:[12]:", "shop"),
    ("%t-%c-", "2026-11-22 17:48:48 UTC-6b032b00.69b6-", ""),
    ("%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
     "2026-11-22 17:48:48 CET [12]: [4-1] user=u,db=shop,app=my app: LOG,client=::1 ", "shop"),
    ("%n %e %Q %x %v %s %i %b %P %L|%-10d|%5p%%",
     "1795369728.513 00000 0 0 3/7 2026-11-22 17:48:48 UTC SELECT client backend  127.0.0.1|shop      |   12%", "shop"),
    # What PostgreSQL 13 makes of %Q.
    ("%m [%p] %Q %d ", "2026-11-22 17:48:48.513 UTC [12]  shop ", "shop"),
]  # fmt: skip


@pytest.mark.parametrize(("prefix", "written", "database"), PREFIXES)
def test_stderr_with_every_prefix(prefix: str, written: str, database: str) -> None:
    log = (
        f"{written}LOG:  duration: 1500.000 ms  execute <unnamed>: select $1,\n\t2\n"
        f"{written}DETAIL:  parameters: $1 = '\n\tx'\n"
        f"{written}ERROR:  deadlock detected\n{written}DETAIL:  Process 1 waits\n{written}STATEMENT:  update t\n\tset\n"
        f'{written}LOG:  temporary file: path "base/pgsql_tmp/x", size 4096\n{written}STATEMENT:  select\n'
    ).encode()
    parser = StderrLog(prefix)
    events = read(parser, log)
    known = database or None
    state = "00000" if "%e" in prefix else ""
    assert events == [
        Statement(known, "select $1,\n2", 1.5, "execute"),
        Error(known, "" if state == "00000" else state, deadlock=True),
        TemporaryFile(known, 4096),
    ]
    assert parser.not_understood == 0


@pytest.mark.parametrize(("prefix", "written", "database"), PREFIXES)
def test_a_prefix_of_many_names_is_read_as_one_of_few(prefix: str, written: str, database: str) -> None:
    for text in ("LOG:  duration: 1 ms", "DETAIL:  x", "ANWEISUNG:  x"):
        one, other = ByExpression(prefix).find(written + text), ByPlaces(parts(prefix)).find(written + text)
        if text.startswith("ANWEISUNG"):
            assert one is other is None
            continue
        assert one is not None
        assert other is not None
        assert (other.severity, other.end) == (one.severity, one.end)
        assert {name: one.fields[name] for name in other.fields} == dict(other.fields)
        assert other.fields.get("database", "") == database


@given(
    st.lists(st.sampled_from(["%a", "%u", "%d", "%h", "%p", "%e", "%q", "%%", "/", " ", "@"]), max_size=6),
    st.text("ab /@1LOG:%", max_size=30),
)
@settings(max_examples=400)
def test_both_ways_find_the_same_heads(escapes: list[str], line: str) -> None:
    prefix, text = "".join(escapes), f"{line}LOG:  "
    one, other = ByExpression(prefix).find(text), ByPlaces(parts(prefix)).find(text)
    # The expression does not see each doubt.
    assert other is None or (one is not None and (one.severity, one.end) == (other.severity, other.end))
    ends = {found.end() for found in re.finditer("LOG:  ", text)}
    assert one is None or other is not None or len(ends) > 1


def places(prefix: str, line: str) -> int:
    """How many places ByPlaces looks at."""
    found = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal found
        found += event == "call" and frame.f_code.co_name in {"_ends", "_fits"}
        if event == "return" and frame.f_code.co_name == "_ends":
            found += len(frame.f_locals["ends"])

    sys.setprofile(count)
    try:
        heads(prefix).find(line)
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    "line",
    ["a b" * 600 + " LOG:  x", "1" * 1800 + "xLOG:  ", "1/1@" * 500 + "LOG:  "],
    ids=["words", "digits", "both"],
)
def test_names_with_nothing_between_them_cost_in_proportion(line: str) -> None:
    """An expression would try all ways in which these names can share the line: each further one takes 64 times."""
    few, many = "%u%d%a%h%p|", "%u%d%a%h%p" * 4 + "|"
    assert places(few, line) > 0
    # Four times as many names, which together can be of four times the length.
    assert places(many, line) <= 4 * 4 * places(few, line)


@pytest.mark.parametrize("name", [FORGED_NAME, "me", "a b"])
def test_names_with_nothing_between_them_are_read_if_the_line_is_clear(name: str) -> None:
    found = heads("[%p]%u%d%a%h%r: ").find(f"[12]{name}shop: LOG:  duration: 1.500 ms")
    if name == FORGED_NAME:
        assert found is None
    else:
        assert found is not None
        assert (found.fields["pid"], found.severity) == ("12", "LOG")


def test_stderr_of_processes_that_are_no_session() -> None:
    log = (
        b"2026-11-22 17:48:48.513 UTC [12] LOG:  checkpoint starting: time\n"
        b"2026-11-22 17:48:48.513 UTC [13] user@shop ERROR:  42P01: relation \"t\" does not exist\n"
        b"2026-11-22 17:48:48.513 UTC [13] user@shop LOCATION:  parserOpenTable, parse_relation.c:1449\n"
        b"2026-11-22 17:48:48.513 UTC [14] [unknown]@[unknown] FATAL:  28000: no such role\n"
    )  # fmt: skip
    parser = StderrLog("%m [%p] %q%u@%d ")
    assert read(parser, log) == [Error("shop", "42P01", deadlock=False), Error(None, "28000", deadlock=False)]
    assert parser.not_understood == 0


FORGED = "x LOG:  duration: 99999.000 ms  statement: x"


@pytest.mark.parametrize(
    ("prefix", "written"),
    [
        ("%m [%p] %q%u@%d/%a ", "2026-11-22 17:48:48.513 UTC [12] u@d/{} "),
        ("%m [%p] %q%u@%d/%a ", "2026-11-22 17:48:48.513 UTC [12] {}@d/psql "),
        ("user=%u,db=%d,app=%a,client=%h ", "user=u,db=d,app={},client=::1 "),
        ("user=%u,db=%d,app=%a,client=%h ", "user=u,db={},app=a,client=::1 "),
        ("%a: ", "{}: "),
    ],
)
def test_what_a_client_calls_itself_is_no_entry(prefix: str, written: str) -> None:
    entry = "LOG:  duration: 1.500 ms  statement: select 1"
    honest = written.format("me")
    for name in (FORGED, f"y,client=::1 {FORGED}", f"a@b/c {FORGED}", "LOG:  "):
        parser = StderrLog(prefix)
        # Nor is it one that stands in a statement.
        lines = (written.format(name) + entry, f"{honest}{entry} /* {written.format(FORGED)} */", honest + entry)
        events = read(parser, "".join(f"{line}\n" for line in lines).encode())
        assert {event.seconds for event in statements(events)} == {0.0015}
        assert len(events) + parser.not_understood == 3


def test_parts_belong_to_the_entry_of_their_process() -> None:
    log = (
        b"[1] LOG:  duration: 1500.000 ms  statement: execute p(1)\n"
        b"[2] DETAIL:  prepare: prepare p as select 'not mine'\n"
        b"\tneither\n"
        b"[1] DETAIL:  prepare: prepare p(int) as\n"
        b"\tselect $1\n"
        b"[1] LOG:  duration: 7.000 ms  statement: execute q(1)\n"
    )
    parser = StderrLog("[%p] ")
    assert [event.text for event in statements(read(parser, log))] == ["select $1", "execute q(1)"]


def test_other_languages_and_other_programs_are_counted() -> None:
    lines = b"[1] LOG:  ready\n[1] FEHLER:  Relation gibt es nicht\n\tRest\ncp: cannot stat 'x'\n[1] LOG:  ready\n"
    parser = StderrLog("[%p] ")
    assert read(parser, lines) == []
    assert (parser.lines, parser.not_understood) == (5, 3)
    parsed = JSONLog()
    assert read(parsed, b'{"error_severity":"FEHLER","message":"x"}\n{"error_severity":"LOG","mess\nx\n') == []
    assert (parsed.lines, parsed.not_understood) == (3, 3)


@pytest.mark.parametrize(
    ("message", "step", "text"),
    [
        ("duration: 1500.000 ms", "bare", ""),
        ("duration: 1500.000 ms  statement: select 1", "statement", "select 1"),
        ("duration: 1500.000 ms  statement: ", "statement", ""),
        ("duration: 1500.000 ms  execute <unnamed>: select 1", "execute", "select 1"),
        ("duration: 1500.000 ms  execute s1/p1: select 1", "execute", "select 1"),
        ("duration: 1500.000 ms  execute fetch from s1/p1: select 1", "execute", "select 1"),
        ("duration: 1500.000 ms  parse s1: select 1", "parse", "select 1"),
        ("duration: 1500.000 ms  bind s1/p1: select 1", "bind", "select 1"),
        ('duration: 1500.000 ms  fastpath function call: "lo_open" (OID 952)', "execute", ""),
        ('duration: 1500.000 ms  plan:\n{\n  "Query Text": "select \\"a\\"\\n, 1",\n  "Plan": {}}', "plan",
         'select "a"\n, 1'),
        ("duration: 1500.000 ms  plan:\nQuery Text: select 1\n, 2\nResult  (cost=0.00..0.01 rows=1)", "plan",
         "select 1\n, 2"),
        ("duration: 1500.000 ms  plan:\n<explain>", "plan", ""),
    ],
)  # fmt: skip
def test_what_a_duration_is_of(message: str, step: str, text: str) -> None:
    line = json.dumps({"error_severity": "LOG", "message": message}, separators=(",", ":")).encode()
    [event] = statements(read(JSONLog(), line + b"\n"))
    assert (event.step, event.text, event.seconds) == (step, text, 1.5)


def test_what_a_function_raises_is_no_duration() -> None:
    fields = {
        "error_severity": "LOG",
        "message": "duration: 9000.000 ms  statement: select 1",
        "context": "PL/pgSQL function f() line 1 at RAISE",
    }
    parser = JSONLog()
    assert read(parser, json.dumps(fields, separators=(",", ":")).encode() + b"\n") == []
    assert parser.not_understood == 0


FUNCTION = "PL/pgSQL function f() line 1 at "


@pytest.mark.parametrize(
    ("message", "context", "counts"),
    [
        ('temporary file: path "base/pgsql_tmp/1", size 7', f'SQL statement "select 1"\n{FUNCTION}SQL statement', True),
        ('temporary file: path "base/pgsql_tmp/1", size 7', 'SQL function "f" statement 1', True),
        ('temporary file: path "base/pgsql_tmp/1", size 7', "unnamed portal with parameters: $1 = '1'", True),
        ('temporary file: path "base/pgsql_tmp/1", size 7', f"{FUNCTION}RAISE", False),
        ('temporary file: path "base/pgsql_tmp/1", size 7', f'{FUNCTION}RAISE\nSQL statement "select f()"', False),
        ('temporary file: path "base/pgsql_tmp/1", size 7', 'PL/Perl function "f"', False),
        ("duration: 1500.000 ms  plan:\nQuery Text: select 1", "", True),
        ("duration: 1500.000 ms  plan:\nQuery Text: select 1", "unnamed portal with parameters: $1 = '1'", True),
        ("duration: 1500.000 ms  plan:\nQuery Text: select 1", 'SQL function "f" statement 1', False),
        ("duration: 1500.000 ms  plan:\nQuery Text: select 1", f'SQL statement "x"\n{FUNCTION}PERFORM', False),
        ("duration: 1500.000 ms  plan:\nQuery Text: select 1", f"{FUNCTION}RAISE", False),
    ],
)
def test_inside_a_function_files_count_and_durations_do_not(message: str, context: str, counts: bool) -> None:
    assert (Entry("LOG", message, context=context).event() is not None) == counts


def test_an_entry_that_is_an_error_is_left_out_and_the_next_ones_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # csv refuses a carriage return outside of quotes.
    whole = record(b"duration: 1.500 ms  statement: b")
    broken = whole.replace(b"UTC,3/8", b"UTC,3\r8")
    parser = CSVLog()
    events = read(parser, whole + broken + whole)
    assert [event.text for event in statements(events)] == ["b", "b"]
    assert (parser.lines, parser.not_understood, parser.pending) == (3, 1, 0)

    def event(entry: Entry) -> Event | None:
        if "spoilt" in entry.message:
            raise KeyError("hunter2")
        return told(entry)

    told = Entry.event
    monkeypatch.setattr(Entry, "event", event)
    logs: list[tuple[LogParser, bytes]] = [
        (StderrLog("[%p] "), b"[1] LOG:  duration: 1.500 ms  statement: %b\n"),
        (JSONLog(), b'{"error_severity":"LOG","message":"duration: 1.500 ms  statement: %b"}\n'),
    ]
    for parser, line in logs:
        events = [*read(parser, b"".join(line % text for text in (b"a", b"spoilt", b"b", b"spoilt"))), *parser.end()]
        assert [event.text for event in statements(events)] == ["a", "b"], parser
        assert (parser.lines, parser.not_understood, parser.pending) == (4, 2, 0)


def test_numbers_that_no_server_writes_are_none() -> None:
    nines = b"9" * 5000
    log = (
        b'LOG:  temporary file: path "x", size %b\nLOG:  duration: %b.000 ms  statement: a\n' % (nines, nines)
        + b"LOG:  duration: 1.500 ms  statement: b\n"
    )
    assert read(StderrLog(""), log) == [Statement(None, "b", 0.0015)]
    assert read(SlowLog(), ENTRY.replace(b"1.500000", nines) + ENTRY) == [SLOW]


def test_lines_without_text_take_no_room() -> None:
    parser = StderrLog("")
    parser.feed(b"LOG:  duration: 1.500 ms  statement: a\n" + b"\t\n" * (2 * MOST_BYTES))
    [event] = statements(parser.flush())
    assert len(event.text) <= MOST_BYTES


# MySQL, MariaDB, Percona Server

ENTRY = (
    b"# Time: 2026-11-22T17:51:27.641751Z\n# User@Host: root[root] @ localhost []  Id:     8\n"
    b"# Query_time: 1.500000  Lock_time: 0.250000 Rows_sent: 1  Rows_examined: 7\n"
    b"use d;\nSET timestamp=1795369887;\nselect 1;\n"
)
SLOW = Statement("d", "select 1", 1.5, lock_seconds=0.25, rows_examined=7, rows_sent=1)


def test_what_is_only_like_a_header_has_no_costs() -> None:
    comment = b"# User@Host: root[root] @ localhost []\n# a comment: Query_time: 99999.0  Lock_time: 0\nselect 2;"
    parser = SlowLog()
    assert read(parser, ENTRY.replace(b"select 1;", b"select 1;\n" + comment) + ENTRY) == [SLOW, SLOW]
    assert parser.not_understood == 3


def test_slow_log_in_short_format() -> None:
    # As log_short_format has it: neither the time nor the user.
    short = ENTRY[ENTRY.index(b"# Query_time") :]
    parser = SlowLog()
    assert read(parser, short * 3 + ENTRY + short) == [SLOW] * 5
    assert parser.not_understood == 0
    # A client's line within a statement begins none.
    commented = short.replace(b"select 1;", b"select\n# Query_time: 9.0  Lock_time: 0\n1;")
    assert [event.seconds for event in statements(read(SlowLog(), commented + short))] == [1.5, 1.5]


def test_slow_log_of_every_kind() -> None:
    times = [b"# Time: 261122 17:49:42", b"# Time: 010909  1:46:40", b"# Time: 2026-11-22T17:51:27.641751+01:00"]
    for time in times:
        assert read(SlowLog(), ENTRY.replace(b"# Time: 2026-11-22T17:51:27.641751Z", time)) == [SLOW]
    together = ENTRY.replace(b"Z\n# User", b"Z # User")
    assert read(SlowLog(), together) == [SLOW]
    without = ENTRY[ENTRY.index(b"# User") :]
    assert read(SlowLog(), without * 2) == [SLOW, SLOW]
    assert read(SlowLog(), ENTRY.replace(b"SET timestamp=1795369887;\n", b"")) == [SLOW]
    inserts = ENTRY.replace(b"SET time", b"SET last_insert_id=5,insert_id=6,time")
    assert read(SlowLog(), inserts) == [SLOW]
    assert read(SlowLog(), ENTRY.replace(b"use d;", b"use `d`;")) == [SLOW]
    assert read(SlowLog(), ENTRY.replace(b"use d;", b"USE `d`;").replace(b"\n", b"\r\n")) == [SLOW]
    [odd] = statements(read(SlowLog(), ENTRY.replace(b"use d;", b"use `a``b;c`;")))
    assert odd.database == "a`b;c"


def test_a_sample_stands_for_those_that_were_left_out() -> None:
    percona = ENTRY.replace(
        b"# Query_time",
        b"# Schema: shop  Last_errno: 0  Killed: 0\n# Bytes_sent: 58\n"
        b"# Log_slow_rate_type: query  Log_slow_rate_limit: 1000\n# Query_time",
    )
    [event] = statements(read(SlowLog(), percona))
    assert (event.database, event.times) == ("shop", 1000)


def test_a_session_without_a_database_has_none_where_the_log_says_so() -> None:
    nowhere = ENTRY.replace(b"# Query", b"# Thread_id: 1  Schema:   QC_hit: No\n# Query").replace(b"use d;\n", b"")
    assert [e.database for e in statements(read(SlowLog(), ENTRY + nowhere))] == ["d", None]


def test_names_in_the_plan_of_a_statement_are_no_headers() -> None:
    """MariaDB writes it with log_slow_verbosity=explain, behind the headers, with aliases as the client wrote them."""
    plan = (
        b"# Rows_affected: 0  Bytes_sent: 66\n#\n# explain: id\tselect_type\ttable\ttype\n"
        b"# explain: 1\tSIMPLE\tSchema: evil\tconst\n# explain: 1\tSIMPLE\tLog_slow_rate_limit: 9\tconst\n"
        b"# explain: 1\tSIMPLE\tx\n# Query_time: 5000.0  Lock_time: 77.0  Rows_sent: 1  Rows_examined: 9\tconst\n"
        b"# explain: 1\tSIMPLE\t# User@Host: [SQL_SLAVE] @ \tconst\n"
        b"# explain: 1\tSIMPLE\tx\n# Stored_routine: d.p\tconst\n#\n"
    )
    assert read(SlowLog(), ENTRY.replace(b"use d;", plan + b"use d;")) == [SLOW]


def test_the_database_is_unknown_after_a_jump_and_after_a_start_of_the_server() -> None:
    later = ENTRY.replace(b"use d;\n", b"")
    banner = (
        b"/usr/sbin/mysqld, Version: 9.7.4 (Debian). started with:\nTcp port: 3306  Unix socket: /s\nTime  Id Com\n"
    )
    parser = SlowLog()
    assert [e.database for e in statements(read(parser, later + ENTRY + later + banner + later))] == [
        None, "d", "d", None,
    ]  # fmt: skip
    assert parser.not_understood == 0


def test_commands_and_what_is_no_statement_of_a_client_s_own() -> None:
    quit_command = ENTRY.replace(b"select 1;", b"# administrator command: Quit;")
    assert [e.text for e in statements(read(SlowLog(), quit_command * 2))] == ["# administrator command: Quit"] * 2
    bare = quit_command.replace(b"SET timestamp=1795369887;\n", b"")
    assert [e.text for e in statements(read(SlowLog(), bare))] == ["# administrator command: Quit"]
    for left_out in (
        ENTRY.replace(b"select 1;", b"# administrator command: Binlog Dump GTID;"),
        ENTRY.replace(b"root[root] @ localhost []", b"[SQL_SLAVE] @  []"),
        ENTRY.replace(b"root[root] @ localhost []", b"system user[system user] @  []"),
        # What a procedure of MariaDB's runs, since whose call began: the call has an entry of its own.
        ENTRY.replace(
            b"use d;", b"# Rows_affected: 0  Bytes_sent: 65\n# Stored_routine: d.p\n# Full_scan: Yes\nuse d;"
        ),
        ENTRY.replace(b"select 1;", b"throttle:          2 'index not used' warning(s) suppressed.;"),
    ):
        parser = SlowLog()
        assert read(parser, left_out + ENTRY) == [SLOW]
        assert parser.not_understood == 0


def test_a_text_that_looks_like_headers_is_a_text() -> None:
    forged = ENTRY.replace(b"select 1;", b"select '\n" + ENTRY.replace(b"1.5", b"9.5").replace(b";", b"") + b"';")
    assert [event.seconds for event in statements(read(SlowLog(), forged * 2))] == [1.5, 1.5]
    named = ENTRY.replace(b"select 1;", b"select\n# Query_time: 9.0  Lock_time: 0\n# Time: soon\nuse d;\n1;")
    assert [event.seconds for event in statements(read(SlowLog(), named * 2))] == [1.5, 1.5]


def test_an_entry_that_is_not_whole_waits() -> None:
    for stop in range(1, len(ENTRY)):
        parser = SlowLog()
        assert read(parser, ENTRY[:stop]) == []
        assert read(parser, ENTRY[stop:]) == [SLOW]
        assert parser.not_understood == 0


def test_what_is_no_slow_log_is_counted() -> None:
    parser = SlowLog()
    assert [*parser.feed(b"select 1;\n# a comment\n" + ENTRY + b"# Time: 2026-11-22T1"), *parser.end()] == [SLOW]
    assert (parser.lines, parser.not_understood, parser.pending) == (9, 3, 0)

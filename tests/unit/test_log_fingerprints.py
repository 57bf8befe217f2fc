"""What is shown of a statement: its literals never, passwords never, and one name for all of its executions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.subjects.logs.fingerprint import fingerprint, normalized
from exporter.subjects.statements.lexer import Dialect

BOTH: tuple[Dialect, Dialect] = ("postgres", "mysql")


@pytest.mark.parametrize(
    ("dialect", "text", "shown"),
    [
        ("postgres", "SELECT  a,\n\tb FROM t WHERE x=1", "select a, b from t where x = ?"),
        ("postgres", "select 'it''s', E'a\\'b', $$c'c$$, $x$ $$ $x$, U&'d', b'01', -5, .5e-3", "select ?"),
        ("postgres", "select 1 -- it's\n, /* 'a /* b */ c' */ x", "select ?, x"),
        ("postgres", "select * from t where a in (1,2,3) and b = any($1)",
         "select * from t where a in (?) and b = any (?)"),
        ("postgres", "insert into t (a, b) values (1, 'x'), (2, 'y')", "insert into t(a, b) values (?)"),
        ("postgres", 'select "A b", "id" from "Order"', 'select "A b", id from "Order"'),
        ("postgres", "select a->>'k', x::int, arr[2] from t where y is not null and z = NULL",
         "select a ->> ?, x::int, arr[?] from t where y is not null and z = ?"),
        ("postgres", "select count(*) from t1 where a$b$c = 2 limit 5 offset 6",
         "select count(*) from t1 where a$b$c = ? limit ? offset ?"),
        ("postgres", "select 1;", "select ?"),
        ("postgres", "(select 1) union all (select 2)", "(select ?) union all (select ?)"),
        ("mysql", "SELECT `a`, `B c`, \"x\" FROM `t` # it's\nWHERE y = 'it\\'s'",
         "select a, `B c`, ? from t where y = ?"),
        ("mysql", "select 5--3, 'a' -- 'b'\n, x", "select ? - ?, x"),
        ("mysql", "select _utf8mb4'x', n'y', 0x1F", "select _utf8mb4 ?"),
        ("mysql", "select /*!40001 SQL_NO_CACHE */ * from t", "select ..."),
    ],
)  # fmt: skip
def test_what_is_shown(dialect: Dialect, text: str, shown: str) -> None:
    assert normalized(text, dialect) == shown


@pytest.mark.parametrize(
    "texts",
    [
        ["select * from t where a = 1", "SELECT * FROM t WHERE a=$1", "select *\nfrom t /* x */ where a = -2;"],
        ["insert into t values (1)", "insert into t values (1, 2), (3, 4)", "INSERT INTO t VALUES(NULL,'x')"],
        ["select f(1) from t where b in (1)", "select f('x') from t where b in (1, 2, 3)"],
    ],
)
def test_executions_share_a_name(texts: list[str]) -> None:
    assert len({fingerprint(text, "postgres") for text in texts}) == 1


def test_other_statements_have_other_names() -> None:
    texts = ["select 1", "select a", "select b", "select a from t", "select a from u", "delete from t", ""]
    assert len({fingerprint(text, "mysql").name for text in texts}) == len(texts)
    assert all(len(fingerprint(text, "mysql").name) == 16 for text in texts)


SECRETS = [
    "ALTER USER u PASSWORD 'hunter2'",
    "create role hunter2 password $$hunter2$$",
    "CREATE USER u IDENTIFIED BY 'hunter2'",
    "SET PASSWORD FOR u = 'hunter2'",
    "/* hunter2 */ GRANT ALL ON *.* TO u IDENTIFIED BY 'hunter2'",
    "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='hunter2'",
    "select 1; alter user u password 'hunter2'",
    "begin; select 1; create subscription s connection 'password=hunter2' publication p",
    "DO $$ begin perform 'hunter2'; end $$",
    "prepare p as select 'hunter2'",
    "explain alter user u password 'hunter2'",
    "select 'a\\'', 'b', 'hunter2\\''",
    "select * from t where p = 'hunter2",
    "select * from t where p = E'\\'hunter2'",
    "select * from t where p = $1$hunter2$1$ or q = $q$hunter2",
    "select /* unclosed hunter2",
    "select /*!99999 'x */ hunter2' */ 1",
    "hunter2",
    "xhunter2(1)",
    "/* /* */ ' */ ALTER ROLE bob PASSWORD 'hunter2'",
    "set app.jwt = hunter2",
    "select 1; set app.jwt = hunter2",
    "select $😀$ hunter2 $😀$",
    "select a --\x01 '\n, 'hunter2'",
    "select a, 'b', 'c' 'hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_not_shown(text: str) -> None:
    for dialect in BOTH:
        if (dialect == "mysql" and ("$q$" in text or "😀" in text or "/* /*" in text)) or (
            dialect == "postgres" and "/*!" in text
        ):
            continue
        shown = normalized(text, dialect)
        assert "hunter2" not in shown, dialect
        assert shown.startswith(("select", "...")) or shown.endswith(" ..."), shown


def quoted(value: str, style: str) -> str:
    """A literal as an application would write it."""
    return {
        "doubled": "'" + value.replace("'", "''") + "'",
        "escaped": "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'",
        "both": "'" + value.replace("\\", "\\\\").replace("'", "''") + "'",
    }[style]


VALUES = st.lists(st.text(alphabet="'\"\\;- /*#$`x\n", max_size=6), min_size=1, max_size=4)


@given(VALUES, st.sampled_from(BOTH), st.booleans())
@settings(max_examples=600)
def test_literals_are_removed_whatever_a_backslash_means(values: list[str], dialect: Dialect, escapes: bool) -> None:
    """The server's setting is not known here; what shows is a part of the statement, or of its beginning."""
    style = "escaped" if escapes else "doubled"
    literals = [quoted(f"SECRET{value}SECRET", style) for value in values]
    shown = normalized(f"select a, {', b, '.join(literals)} from t", dialect)
    assert "secret" not in shown.lower()


@given(st.text(max_size=60), st.sampled_from(BOTH))
@settings(max_examples=300)
def test_nothing_is_an_error(text: str, dialect: Dialect) -> None:
    for whole in (text, f"select {text}"):
        assert "\n" not in normalized(whole, dialect)
        fingerprint(whole, dialect)


def test_of_a_long_text_the_beginning_counts() -> None:
    rows = ", ".join(f"({n}, 'x{n}')" for n in range(5000))
    names = {
        fingerprint(f"insert into t (a, b) values {rows[: n * 13]}", dialect).name
        for n in (700, 800)
        for dialect in BOTH
    }
    assert len(names) == 1
    shown = fingerprint("select " + ", ".join(f"column{n}" for n in range(1000)), "postgres").text
    assert len(shown) < 1100
    assert shown.endswith("...")

"""Texts of PostgreSQL's statements: nothing that was written as a value is left of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.subjects.logs.fingerprint import normalized
from exporter.subjects.statements.literals import without_literals


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SELECT id, $1 FROM t1 WHERE a = $2", "SELECT id, $1 FROM t1 WHERE a = $2"),
        ("WITH x AS (\n  SELECT 'it''s canary', 17, 1.5e-10, .5\n) TABLE x",
         "WITH x AS (\n  SELECT ?, ?, ?, ?\n) TABLE x"),
        ("select * from t where a=-42", "select * from t where a=-?"),
        ("SELECT p('canary', x'1F', U&'canary', $$ canary $$, $été$ canary $été$)", "SELECT p(?, ?, ?, ?, ?)"),
        ("SELECT \"it's\", 'canary', \"a\"\"b's\" FROM \"t 1\"", "SELECT \"it's\", ?, \"a\"\"b's\" FROM \"t 1\""),
        ("SELECT E'it\\'s canary', 'canary', b$1 FROM t2", "SELECT ?, ?, b$1 FROM t2"),
        # Where the second string ends depends on standard_conforming_strings.
        ("SELECT 1, 'a\\' , 'canary', 'b\\''", "SELECT ?, ..."),
        # With a backslash as an escape it would have no end.
        ("SELECT 'C:\\' , 'canary'", "SELECT ? , ?"),
        # No server has taken what makes no sense, so we have misread it.
        ("SELECT a, 'b', 'canary cut in the mid", "SELECT a, ..."),
        ("SELECT a \\ b, 'canary'", "SELECT a \\ b, ..."),
        ("/* job='canary' */ SELECT 1 -- for canary 7\n FROM t", "SELECT ? \n FROM t"),
        ("SELECT/* /* nested */ canary */a/**/FROM t", "SELECT a FROM t"),
        ("SELECT a -- it's\r, 'canary'", "SELECT a \r, ?"),
        ("(SELECT 1); -- that was all\n", "(SELECT ?)"),
        ("SELECT 1; SET app.jwt = canary", "SELECT ? ..."),
        ("SELECT a FROM t WHERE b IN ($1 /*, ... */)", "SELECT a FROM t WHERE b IN ($1 /*, ... */)"),
        # What is no statement about rows.
        ("BEGIN", "BEGIN"),
        ("SET work_mem = '64MB'", "SET ..."),
        ("SET app.token TO canary", "SET ..."),
        ("-- canary\nset my.\"secret\" = canary", "set ..."),
        ("/* x */ SET my.secret TO canary", "SET ..."),
        ("ALTER DATABASE d SET app.jwt = canary", "ALTER DATABASE ..."),
        ("ALTER SYSTEM SET x = canary", "ALTER SYSTEM ..."),
        ("/* /* */ ' */ ALTER ROLE bob PASSWORD 'canary'", "ALTER ROLE ..."),
        ("/* a comment */ -- and another\n ALTER ROLE a PASSWORD 'canary'", "ALTER ROLE ..."),
        ("CREATE  OR REPLACE\nFUNCTION canary()", "CREATE OR REPLACE FUNCTION ..."),
        ("CREATE USER MAPPING FOR a SERVER b OPTIONS (password 'canary')", "CREATE USER ..."),
        ("COPY t FROM PROGRAM 'curl canary' WITH (FORMAT csv, DELIMITER ';')", "COPY ..."),
        ("DO $$ BEGIN PERFORM 'canary'; END $$", "DO ..."),
        ("NOTIFY c, 'canary cut in the mid", "NOTIFY ..."),
        ("PREPARE canary AS SELECT 'canary'", "PREPARE ..."),
        ("canary", "..."),
        ("", "..."),
    ],
)  # fmt: skip
def test_values_are_gone_and_the_rest_stays(text: str, left: str) -> None:
    assert without_literals(text) == left


def test_what_is_cut_shows_what_is_there() -> None:
    assert without_literals("SELECT 'a', b, 'canary cut in the mid", cut=True) == "SELECT ?, b, ?"
    assert without_literals('SELECT "a", "b', cut=True) == 'SELECT "a", ?'
    assert without_literals("SELECT 'a\\', 'canary', 'b", cut=True) == "SELECT"
    # A backslash is in no statement but in a string, so that one ended elsewhere.
    assert without_literals("SELECT 'x' \\ canary'", cut=True) == "SELECT"


# Each a whole part of a statement, with what misleads about where strings are.
PARTS = st.lists(
    st.sampled_from([
        "a", "1", '"it\'s"', "'it''s'", "'a'", "E'\\''", "E'\\\\'", "$$'$$", "$a$ $b$ ' $a$", "$😀$ ' $😀$",
        "$\u00a0$'$\u00a0$",
        "x😀$a$ ", "é$$ ", "/* ' */", "/* /* ' */ */", "/* */", "-- '\n", "-- it's\r", "--\n", "- ", "/ ", "* ",
        "u&'a'", 'U&"\'"',
        "$1", "\\", "$1$a$'$a$", "1e-5", "n'x'", "@-", "\u3000", "٣",
    ])
)  # fmt: skip
SECRETS = st.sampled_from([
    "'{}'", "'a''{}'", "E'\\'{}'", "$${}$$", "$😀$ {} $😀$", "/* {} */", "/* /* */ {} */", "-- {}\n",
    "-- '\r'{}'", "N'{}'",
])  # fmt: skip


@given(PARTS, SECRETS, PARTS, st.booleans())
@settings(max_examples=500)
def test_a_literal_never_survives_whatever_stands_around_it(
    before: list[str], secret: str, after: list[str], cut: bool
) -> None:
    text = f"SELECT {' '.join(before)} {secret.format('canary')} {' '.join(after)}"
    assert "canary" not in without_literals(text, cut=cut)
    assert "canary" not in normalized(text, "postgres", cut=cut)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    without_literals(text)
    without_literals(f"select {text}")

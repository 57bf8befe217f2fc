"""Texts of PostgreSQL's statements: nothing that was written as a value is left of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.subjects.statements.literals import without_literals


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SELECT id, $1 FROM t1 WHERE a = $2", "SELECT id, $1 FROM t1 WHERE a = $2"),
        ("SET work_mem = '64MB'", "SET work_mem = ?"),
        ("SET app.token TO canary", "SET app.token TO ?"),
        ("set local statement_timeout=5000", "set local statement_timeout=?"),
        ("COPY t FROM PROGRAM 'curl canary' WITH (FORMAT csv, DELIMITER ';')",
         "COPY t FROM PROGRAM ? WITH (FORMAT csv, DELIMITER ?)"),
        ("DO $$ BEGIN PERFORM 'canary'; END $$", "DO ?"),
        ("DO $body$ SELECT $$canary$$ $body$ LANGUAGE plpgsql", "DO ? LANGUAGE plpgsql"),
        ("DO $été$ canary $été$", "DO ?"),
        ("PREPARE p AS SELECT 'it''s canary', 17, 1.5e-10, .5", "PREPARE p AS SELECT ?, ?, ?, ?"),
        ("DECLARE c CURSOR FOR SELECT * FROM t WHERE a=-42", "DECLARE c CURSOR FOR SELECT * FROM t WHERE a=-?"),
        ("CALL p('canary', x'1F', U&'canary')", "CALL p(?, x?, U&?)"),
        ("SELECT \"it's\", 'canary', \"a\"\"b's\" FROM \"t 1\"", "SELECT \"it's\", ?, \"a\"\"b's\" FROM \"t 1\""),
        ("SELECT E'it\\'s canary', 'canary'", "SELECT E?"),
        ("SELECT 'C:\\' , 'canary'", "SELECT ?"),
        ("NOTIFY c, 'canary cut in the mid", "NOTIFY c, ?"),
        ("DO $a$ canary cut", "DO ?"),
        ("/* job='canary' */ SELECT 1 -- for canary 7\n FROM t", "/* ... */ SELECT ? -- ...\n FROM t"),
        ("/* controller:users */ SELECT $1", "/* controller:users */ SELECT $1"),
        ("SELECT a -- it's\n, 'canary'", "SELECT a -- ...\n, ?"),
        ("CREATE TABLE t2 (a varchar(20), b$1 int)", "CREATE TABLE t2 (a varchar(?), b$1 int)"),
    ],
)  # fmt: skip
def test_values_are_gone_and_the_rest_stays(text: str, left: str) -> None:
    assert without_literals(text) == left


@given(st.text("ab'\"\\$/*-\n 1E", max_size=40), st.text("ab'\"\\$/*-\n 1E", max_size=40))
def test_a_string_never_survives_whatever_stands_around_it(before: str, after: str) -> None:
    """Even where the statement is none, a quoted canary is not shown; unless it is a name, or in a plain comment."""
    found = without_literals(f"{before} 'canary' {after}")
    position = found.find("canary")
    if position >= 0:
        assert '"' in before or "'" in before or "$" in before or "--" in before or "/*" in before


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    without_literals(text)

"""Single statements without a server: what is asked, in which order, how often, and what comes of the answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.recent import Key
from exporter.config.model import ServerConfig
from exporter.declare import Asking, Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.subjects.statements.digest_durations import DigestDurations
from exporter.subjects.statements.digests import DetailedDigests, TrackedDigests, shown
from exporter.subjects.statements.texts import KEPT, Texts, cut
from exporter.subjects.statements.tracked import EVERY_RUN, QUICK_STATEMENTS, Tracked
from exporter.subjects.statements.tracked_postgres import TrackedStatements

FACTS = Facts("mysql", "mysql", (9, 7, 0), "9.7.0", Identity("1", 0.0, Role.PRIMARY))


class Plain(Tracked):
    """Statements of no engine: what is asked says itself what for."""

    name = "plain"
    key = ("schema", "digest")
    largest = frozenset({"longest"})

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Any, ...]] = []

    def numbers(self, statements: Sequence[Key], context: Context) -> str:
        self.asked.append(("numbers", *statements))
        return "numbers"

    def texts(self, ids: Sequence[Hashable], context: Context) -> str:
        self.asked.append(("texts", *ids))
        return "texts"

    def readable(self, text: str, context: Context) -> str:
        return text


class Server:
    """A server with statements, and what it was asked."""

    def __init__(self, room: int = 10, state: Tracked | None = None, **statements: Any) -> None:
        config = {"name": "s", "engine": "mysql", "host": "h", "port": 1}
        self.config = ServerConfig.model_validate({**config, "statements": {"limit": room, **statements}})
        self.state = state or Plain()
        # By schema and digest, calls; a second row of one is what MySQL has at times.
        self.rows: list[tuple[Any, Any, int]] = []
        self.now = 0.0

    def answer(self, sql: str) -> Rows:
        if sql == "look":
            return Rows(("a", "b", "c", "d", "e"), [(*row, row[2], row[2]) for row in self.rows])
        if sql == "numbers":
            return Rows(("schema", "digest", "calls", "longest"), [(*row, row[2]) for row in self.rows])
        return Rows(("digest", "text"), [(digest, f"SELECT {digest}") for _, digest, _ in self.rows if digest])

    def run(self, answer: Callable[[str], Rows] | None = None) -> tuple[list[str], Rows]:
        """One run as exporter.polling.runs makes it; what was asked, and what came of it."""
        assert isinstance(self.state, Asking)
        self.now += 15.0
        context = Context(self.config, FACTS, self.now)
        asked: list[str] = []
        answers: list[Rows] = []
        while (sql := self.state.ask("look", answers, context)) is not None:
            asked.append(sql)
            answers.append((answer or self.answer)(sql))
        return asked, self.state.feed(Rows(answers[0].columns, answers[0].rows, tuple(answers[1:])), context)


def test_numbers_come_with_the_first_run_and_texts_are_asked_for_once() -> None:
    server = Server()
    server.rows = [("shop", "a", 5), ("shop", "b", 3)]
    asked, rows = server.run()
    assert asked == ["look", "numbers", "texts"]
    assert rows.dicts() == [
        {"schema": "shop", "digest": "a", "calls": 5, "longest": 5, "text": "SELECT a", "known": 1},
        {"schema": "shop", "digest": "b", "calls": 3, "longest": 3, "text": "SELECT b", "known": 1},
    ]
    asked, again = server.run()
    assert asked == ["look", "numbers"]
    assert again.rows == rows.rows
    server.rows.append(("shop", "c", 9))
    server.run()
    asked, rows = server.run()
    assert (asked, server.state.asked[-1]) == (["look", "numbers", "texts"], ("texts", "c"))  # type: ignore[attr-defined]
    assert len(rows.rows) == 3


def test_of_very_many_not_every_run_looks_at_all() -> None:
    server = Server()
    server.rows = [("shop", f"{number}", number) for number in range(QUICK_STATEMENTS + 1)]
    looks = ["look" in server.run()[0] for _ in range(2 + 2 * EVERY_RUN)]
    # Two at once, so that there is something to compare.
    assert looks == [True, True, *([False] * (EVERY_RUN - 1) + [True]) * 2]


class Few(Plain):
    """Statements of which few are shown, of which texts are of no use, and which are looked at in every run."""

    texts_in = frozenset()
    looks_every = 1
    most = 3


def test_of_very_many_every_run_looks_at_all_where_runs_are_rare() -> None:
    server = Server(state=Few())
    server.rows = [("shop", f"{number}", number) for number in range(QUICK_STATEMENTS + 1)]
    assert [server.run()[0] for _ in range(2 + EVERY_RUN)] == [["look", "numbers"]] * (2 + EVERY_RUN)


@pytest.mark.parametrize(("room", "own", "shown"), [(10, None, 3), (2, None, 2), (10, 7, 7), (2, 7, 7)])
def test_what_costs_more_has_less_room_unless_it_is_given_more(room: int, own: int | None, shown: int) -> None:
    server = Server(room=room, state=Few())
    if own is not None:
        config = {**server.config.model_dump(), "collectors": {"plain": {"limit": own}}}
        server.config = ServerConfig.model_validate(config)
    server.rows = [("shop", f"{number}", number) for number in range(9)]
    assert len(server.run()[1].rows) == shown


def test_only_what_was_asked_for_is_shown_and_several_rows_are_one() -> None:
    server = Server(room=2)
    server.rows = [("a", "x", 10), ("b", "x", 1), ("a", "y", 4), ("a", "y", 5)]
    _, rows = server.run()
    assert {(row[0], row[1]): row[2:4] for row in rows.rows} == {("a", "x"): (10, 10), ("a", "y"): (9, 5)}


def test_what_has_no_digest_is_shown_without_a_text() -> None:
    server = Server(room=1)
    server.rows = [("a", "x", 10), (None, None, 7)]
    asked, rows = server.run()
    assert asked == ["look", "numbers"]
    assert rows.rows == [(None, None, 7, 7, None, None)]


def test_the_text_is_where_the_config_wants_it() -> None:
    for mode, columns in (("label", ("digest_text", "text", "known")), ("none", ("text", "known"))):
        server = Server(text=mode)
        server.rows = [("shop", "a", 5)]
        asked, rows = server.run()
        assert asked == ["look", "numbers", *(["texts"] if mode == "label" else [])]
        assert rows.columns[4:] == columns
        assert rows.rows[0][4:] == (("SELECT a",) if mode == "label" else ()) + (None, None)


@pytest.mark.parametrize(
    ("state", "reads"),
    [(TrackedDigests, {"info", "label"}), (DetailedDigests, {"label"}), (DigestDurations, set())],
)
def test_a_text_that_is_not_shown_is_not_read(state: type[Tracked], reads: set[str]) -> None:
    looked = Rows(("a", "b", "c", "d", "e"), [("shop", "ab", 5, 5, 5)])
    numbers = Rows(("schema", "digest"), [("shop", "ab")])
    for mode in ("info", "label", "none"):
        server = Server(state=state(), text=mode)
        further = server.state.ask("look", [looked, numbers], Context(server.config, FACTS, 15.0))
        assert (further is not None) == (mode in reads), mode


def test_the_collector_s_own_limit_wins() -> None:
    server = Server(room=5)
    server.config = server.config.model_copy(
        update={
            "collectors": ServerConfig.model_validate(
                {**server.config.model_dump(), "collectors": {"plain": {"limit": 2}}}
            ).collectors
        }
    )
    server.rows = [("shop", f"{number}", number) for number in range(9)]
    assert len(server.run()[1].rows) == 2


def test_a_run_that_fails_halfway_changes_nothing() -> None:
    server = Server()
    server.rows = [("shop", "a", 5)]

    def failing(sql: str) -> Rows:
        if sql == "texts":
            raise TimeoutError
        return server.answer(sql)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            server.run(failing)
    assert server.run()[0] == ["look", "numbers", "texts"]


class Seldom(Plain):
    """Statements whose texts are not read each time that one is missing."""

    texts_every = 300.0


@pytest.mark.parametrize(("took", "pause"), [(0.05, 50.0), (9.0, 300.0)])
def test_texts_that_took_long_are_left_alone_for_as_much_longer(
    monkeypatch: pytest.MonkeyPatch, took: float, pause: float
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    server = Server(state=Seldom())

    def answer(sql: str) -> Rows:
        clock[0] += took if sql == "texts" else 0.0
        return server.answer(sql)

    def reads() -> bool:
        server.rows.append(("shop", f"{len(server.rows)}", 1))
        # What is new is chosen by one run, and its text read in the next.
        return "texts" in [*server.run(answer)[0], *server.run(answer)[0]]

    server.rows = [("shop", "a", 5)]
    assert "texts" in server.run(answer)[0]
    began = clock[0] - took
    clock[0] = began + pause * 0.99
    assert not reads()
    clock[0] = began + pause * 1.01
    assert reads()


def test_another_server_is_asked_for_everything_anew() -> None:
    server = Server()
    server.rows = [("shop", "a", 5)]
    server.run()
    server.state.rebase()
    server.rows = [("other", "a", 1)]
    asked, rows = server.run()
    assert asked == ["look", "numbers", "texts"]
    assert [row[:3] for row in rows.rows] == [("other", "a", 1)]


def test_what_postgresql_keeps_over_a_restart_is_kept_here_too() -> None:
    state, config = TrackedStatements(), Server(room=1, text="none").config
    columns = ("userid", "dbid", "user", "database", "own", "queryids", "calls", "seconds", "io")
    now = 0.0

    def chosen(facts: Facts, **calls: int) -> list[int]:
        """The statements whose numbers are asked for, those of old and new being numbers 1 and 2."""
        nonlocal now
        now += 15.0
        context = Context(config, facts, now)
        numbers = list(calls.values())
        looked = Rows(columns, [(10, 5, "u", "d", False, [1, 2], numbers, numbers, numbers)])
        assert state.ask("look", [], context) == "look"
        asked = state.ask("look", [looked], context)
        assert asked is not None
        found = [number for number in (1, 2) if f"'{{{number}}}'::int8[]" in asked]
        state.feed(Rows(columns, looked.rows, (Rows(("userid", "dbid", "queryid"), []),)), context)
        return found

    assert chosen(FACTS, old=1000, new=10) == [1]
    assert chosen(FACTS, old=1000, new=500) == [1]
    assert chosen(FACTS, old=1000, new=500) == [2]
    state.rebase()
    restarted = replace(FACTS, identity=replace(FACTS.identity, start_time=100.0))
    assert chosen(restarted, old=1000, new=500) == [2]
    state.rebase()
    another = replace(FACTS, identity=replace(FACTS.identity, system="2"))
    assert chosen(another, old=1000, new=500) == [1]


def test_no_statement_no_question() -> None:
    server = Server()
    asked, rows = server.run()
    assert (asked, rows.rows) == (["look"], [])
    assert set(rows.columns) >= {"schema", "digest", "text", "known"}


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("uvwxyz"), st.integers(0, 99)))),
    st.integers(1, 5),
)
def test_whatever_comes_no_more_than_there_is_room_for_and_each_once(readings: list[Any], room: int) -> None:
    server = Server(room=room)
    for rows in readings:
        server.rows = rows
        _, found = server.run()
        keys = [row[:2] for row in found.rows]
        assert len(set(keys)) == len(keys) <= room


@given(st.text(), st.integers(1, 50))
def test_a_text_is_cut_between_characters(text: str, most: int) -> None:
    found = cut(text, most)
    assert len(found.encode()) <= most
    assert text.encode("utf-8", "replace").decode().startswith(found)
    assert len(found.encode()) > most - 4 or len(found) == len(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CREATE SYSTEM_USER `canary` IDENTIFIED BY ?", "CREATE SYSTEM_USER ..."),
        ("CREATE PROCEDURE `p2` ( ) BEGIN SET PASSWORD = `canary` ; END", "CREATE PROCEDURE ..."),
        ("PREPARE ALTER SYSTEM_USER `canary` @? IDENTIFIED BY ?", "PREPARE ALTER SYSTEM_USER ..."),
        ("EXECUTE SET PASSWORD FOR `canary` @? = ?", "EXECUTE SET PASSWORD FOR ..."),
        ("EXECUTE SELECT `a` FROM `users` ", "EXECUTE SELECT `a` FROM `users` "),
        ("EXECUTE ( SELECT `a` FROM `users` )", "EXECUTE ( SELECT `a` FROM `users` )"),
        ("EXECUTE `canary` USING @?", "EXECUTE ..."),
        ("SET GLOBAL `wsrep_sst_auth` = `sst:canary`", "SET GLOBAL ..."),
        ("SET @@GLOBAL . `init_connect` = `canary`", "SET ..."),
        ("SET STATEMENT MAX_STATEMENT_TIME = ? FOR SELECT ?", "SET STATEMENT MAX_STATEMENT_TIME ..."),
        ("GRANT SELECT ON `shop` . * TO `a` IDENTIFIED BY `canary`", "GRANT SELECT ON ..."),
        ("CALL `p` (`canary`)", "CALL ..."),
        ("`canary`", "..."),
        ("KILL QUERY ?", "KILL QUERY ..."),
        ("COMMIT ", "COMMIT "),
        ("( SELECT ? ) UNION ( SELECT ? )", "( SELECT ? ) UNION ( SELECT ? )"),
        ("UPDATE `users` SET PASSWORD = ? WHERE `id` = ?", "UPDATE `users` SET PASSWORD = ? WHERE `id` = ?"),
        ("", ""),
    ],
)
def test_of_what_could_hold_a_password_its_first_words_are_shown(text: str, left: str) -> None:
    assert shown(text) == left


def test_texts_are_kept_within_a_bound_those_shown_longest() -> None:
    texts = Texts()
    for number in range(2 * KEPT):
        texts.keep([number], {number: "text"})
        texts.of([0, number])
    assert texts.unknown([0, 2 * KEPT - 1]) == []
    assert len(texts.unknown(range(2 * KEPT))) >= KEPT - 2
    # What the server has no text of is known as well.
    texts.keep(["gone"], {})
    assert texts.unknown(["gone", None, "new", "new"]) == ["new"]
    assert texts.of(["gone"]) == {"gone": None}


def test_a_text_that_was_missing_once_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Texts()
    texts.keep(["a", "b"], {"a": None, "b": "text"})
    assert texts.unknown(["a", "b"]) == []
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 600)
    assert texts.unknown(["a", "b"]) == ["a"]
    texts.keep(["a"], {})
    assert texts.unknown(["a", "b"]) == []
    monkeypatch.setattr("time.monotonic", lambda: now + 1200)
    texts.keep(texts.unknown(["a", "b"]), {"a": "found"})
    assert texts.of(["a", "b"]) == {"a": "found", "b": "text"}
    monkeypatch.setattr("time.monotonic", lambda: now + 9000)
    assert texts.unknown(["a", "b"]) == []


@pytest.mark.parametrize("state", [TrackedDigests, DigestDurations])
def test_names_are_data(state: type[TrackedDigests]) -> None:
    server = Server(state=state())
    name = 'it\'s \\ a `"schema" %s {limit} \U0001f418'
    context = Context(server.config, FACTS, 0.0)
    sql = server.state.numbers([(name, "ab12"), (None, "cd"), (None, None), ("a", "x' OR 'x' = 'x")], context)
    assert re.findall(r"'([^']*)'", sql[sql.index("WHERE CONCAT_WS('.'") :]) == [
        ".", "", f"ab12.{name.encode().hex()}", "cd",
    ]  # fmt: skip
    assert "'x'" not in server.state.texts(["ab12", "x' OR 'x"], context)

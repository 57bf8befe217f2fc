"""Who counts a server's slow statements: its log while it logs some, else what comes after it; each of them once."""

from __future__ import annotations

import time

from exporter.config.model import ServerConfig
from exporter.declare import Context, Rows
from exporter.facts import Facts, Identity, Role
from exporter.subjects.logs.choice import StandIn
from exporter.subjects.logs.turn import Turn

FACTS = Facts("postgres", "postgres", (18, 0), "18.0", Identity("1", 0.0, Role.PRIMARY))
SERVER = ServerConfig(name="s", engine="postgres", host="h", port=1)
COLUMNS = ("database", "statements", "slow", "source", "threshold")


class Estimates:
    """Counts whatever it is fed."""

    def feed(self, rows: Rows, context: Context) -> Rows:
        return rows

    def rebase(self) -> None:
        """Keep everything."""


class Server:
    """A server with so many slow statements so far, its log, and what counts them without it."""

    def __init__(self, patience: float = 30) -> None:
        self.turn = Turn(patience)
        self.stand_in = StandIn(Estimates(), self.turn)
        self.now = 0.0
        self.slow = 0
        self.seen: list[int | None] = []

    def passes(self, slow: int, *, log: bool | None) -> int | None:
        """Time, with slow statements in it, and a run of both; `log` is None if nobody could ask it."""
        self.now += 15
        self.slow += slow
        if log:
            self.turn.heard(self.now, at_end=True)
        elif log is not None:
            self.turn.silent()
        self.now += 0.01
        rows = Rows(COLUMNS, [("d", 100, self.slow, "statements", 1.0), (None, None, None, None, None)])
        [told, rest] = self.stand_in.feed(rows, Context(SERVER, FACTS, self.now)).rows
        assert rest == (None,) * 5
        assert told[:2] == ("d", 100), "what else there is stays"
        assert told[3:] == (("statements", 1.0) if told[2] is not None else (None, None))
        self.seen.append(told[2])
        return told[2]

    def __call__(self, *slow: int, log: bool | None) -> list[int | None]:
        return [self.passes(number, log=log) for number in slow]


def test_while_the_log_counts_nobody_else_does() -> None:
    server = Server()
    assert server(1, 2, 3, log=True) == [None, None, None]
    assert server.turn.log_counts


def test_a_log_that_falls_silent_is_replaced_at_once_and_nothing_is_lost() -> None:
    server = Server()
    server(5, 5, log=True)
    # The first one is what was shown before, so that the next ones are seen to grow.
    assert server(7, 2, 4, log=False) == [0, 9, 13]


def test_what_the_log_has_counted_is_not_counted_again_when_it_falls_silent_once_more() -> None:
    server = Server()
    server(5, 5, log=True)
    server(1, 1, log=False)
    assert server(100, 100, log=True) == [None, None]
    assert server(7, 2, log=False) == [2, 11]
    assert [count for count in server.seen if count is not None] == [0, 2, 2, 11], "it never falls"


def test_a_log_that_nobody_can_read_is_replaced_after_a_while_and_what_came_meanwhile_counts() -> None:
    server = Server(patience=40)
    server(5, 5, log=True)
    assert server(1, 1, log=None) == [None, None], "a run that fails is no reason"
    assert server(1, 1, 1, log=None) == [0, 4, 5]
    assert not server.turn.log_counts


def test_a_run_that_failed_log_counts_all_the_same_when_it_goes_on() -> None:
    server = Server(patience=40)
    server(5, 5, log=True)
    server(1, 1, log=None)
    server(1, log=True)
    assert server(3, 3, log=False) == [0, 6]


def test_a_log_that_was_never_heard_of_is_replaced_after_a_while() -> None:
    server = Server(patience=40)
    assert server(1, 1, 1, 1, 1, log=None)[:3] == [None, None, None]
    # What came before the first reading is nobody's.
    assert server.seen[3:] == [0, 4]


def test_a_log_has_its_turn_back_only_when_it_was_read_to_its_end() -> None:
    turn = Turn()
    turn.silent()
    turn.heard(1.0, at_end=False)
    assert not turn.log_counts, "what is still to be read was written while others counted"
    turn.heard(2.0, at_end=True)
    assert turn.log_counts


def test_a_database_that_is_gone_leaves_nothing_to_one_of_its_name() -> None:
    server = Server()
    server(5, log=True)
    server(5, 5, log=False)
    others = Rows(COLUMNS, [("other", 1, 0, "statements", 1.0)])
    server.stand_in.feed(others, Context(SERVER, FACTS, time.monotonic()))
    server.slow = 0
    assert server(2, log=False) == [2]


def test_two_sources_that_take_turns_after_the_log_each_go_on_where_they_were() -> None:
    server = Server()
    server(5, 5, log=True)
    assert server(1, 1, log=False) == [0, 2]
    rows = Rows(COLUMNS, [("", 100, 40, "status", 0.5)])
    seen = []
    for _ in range(2):
        server.now += 15
        server.stand_in.feed(rows, Context(SERVER, FACTS, server.now))
        seen += server(3, log=False)
    assert seen == [5, 8]

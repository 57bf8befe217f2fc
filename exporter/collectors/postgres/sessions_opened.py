"""Connections opened, counted over resets of the statistics and dropped databases."""

from __future__ import annotations

from exporter.collectors.vocabulary import shared
from exporter.declare import Collector, Context, Query, Rows, block
from exporter.gates import pg


class SessionsOpened:
    """Adds up what each database's counter grew by, so that a reset of one of them is no reset of the sum."""

    def __init__(self) -> None:
        self._total = 0
        self._last: dict[int, int] | None = None

    def feed(self, rows: Rows, context: Context) -> Rows:  # noqa: ARG002 - the protocol's
        """Rows of (datid, sessions) to one row of the sum since the first of them."""
        now = {datid: sessions for datid, sessions in rows.rows if sessions is not None}
        if self._last is not None:
            for datid, sessions in now.items():
                last = self._last.get(datid, 0)
                self._total += sessions - last if sessions >= last else sessions
        self._last = now
        return Rows(("opened",), [(self._total,)])

    def rebase(self) -> None:
        """Go on from the next reading."""
        self._last = None


sessions_opened = Collector(
    name="pg_sessions_opened",
    about="Connections opened since the exporter began to watch.",
    engine="postgres",
    when=pg(14),
    queries=(Query(pg(14), "SELECT datid, sessions FROM pg_stat_database WHERE datid <> 0"),),
    state=SessionsOpened,
    blocks=(block(shared("db_connections_opened_total", "opened")),),
)

"""Sums over objects that share a name, such as the overloads of a function, which don't fall when one of them goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import add, itemgetter, lt, sub
from typing import Any

from exporter.declare import Accumulator, Context, Rows

# A database that can't be read for so long begins with what it then says.
FORGET_SECONDS = 3600.0

Key = tuple[Any, ...]
Values = tuple[float, ...]


class _Database:
    """What one database has said last, and what is to be added to that."""

    def __init__(self) -> None:
        self.at = 0.0
        self.elsewhere = False
        self.sums: dict[Key, Values] = {}
        self._last: dict[Any, tuple[Key, Values]] = {}
        self._gone: dict[Key, Values] = {}

    def take(self, objects: Iterable[tuple[Any, Key, Values]]) -> None:
        now = {thing: (name, values) for thing, name, values in objects}
        there: dict[Key, Values] = {}
        for name, values in now.values():
            there[name] = _plus(there[name], values) if name in there else values
        if self.elsewhere:
            gone = {name: tuple(map(sub, self.sums[name], there[name])) for name in there.keys() & self.sums.keys()}
        else:
            gone = {name: values for name, values in self._gone.items() if name in there}
            for thing, (name, values) in self._last.items():
                _, current = now.get(thing, (name, None))
                if name in there and (current is None or any(map(lt, current, values))):
                    # It was dropped, or counts from the start again.
                    gone[name] = _plus(gone[name], values) if name in gone else values
        self.elsewhere = False
        self._last, self._gone = now, gone
        self.sums = {name: _plus(values, gone[name]) if name in gone else values for name, values in there.items()}


class Lasting:
    """Adds up the counters of objects that share a name; what those that went had counted stays in the sum.

    A name of which nothing is left is forgotten. When another server answers, or this one after a restart, the sums
    go on from where they were.
    """

    def __init__(self, name: tuple[str, ...], thing: str, counters: tuple[str, ...], then: Accumulator) -> None:
        """`name` are the columns to add up by, the database first; `thing` tells objects of a name apart.

        `then` gets the sums.
        """
        self._name = name
        self._thing = thing
        self._counters = counters
        self._then = then
        self._databases: dict[Any, _Database] = {}

    def feed(self, rows: Rows, context: Context) -> Rows:
        """The sums, a row for each name."""
        thing_of = itemgetter(rows.columns.index(self._thing))
        name_of = itemgetter(*map(rows.columns.index, self._name))
        values_of = itemgetter(*map(rows.columns.index, self._counters))
        found: dict[Any, list[tuple[Any, Key, Values]]] = {}
        for row in rows.rows:
            name = name_of(row)
            found.setdefault(name[0], []).append((thing_of(row), name, values_of(row)))
        summed: list[tuple[Any, ...]] = []
        for database, objects in found.items():
            known = self._databases.setdefault(database, _Database())
            known.at = context.now
            known.take(objects)
            summed += ((*name, *values) for name, values in known.sums.items())
        late = context.now - FORGET_SECONDS
        self._databases = {name: known for name, known in self._databases.items() if known.at >= late}
        return self._then.feed(Rows((*self._name, *self._counters), summed), context)

    def rebase(self) -> None:
        """Whoever answers now, the next reading is the baseline."""
        for known in self._databases.values():
            known.elsewhere = True
        self._then.rebase()


def _plus(some: Values, more: Values) -> Values:
    return tuple(map(add, some, more))


def lasting(
    *name: str, thing: str, counters: tuple[str, ...], then: Callable[[], Accumulator]
) -> Callable[[], Accumulator]:
    """What `state=` of a collector takes; see `Lasting`."""
    return lambda: Lasting(name, thing, counters, then())

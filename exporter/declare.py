"""The vocabulary collectors are written in: measures, blocks, queries and collectors, all of them immutable."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from exporter.facts import Facts
from exporter.gates import ANY, Gate
from exporter.hooks import Accumulator, Asking, Context, Hook, Rows, Samples
from exporter.measures import (
    NAME,
    DeclarationError,
    Kind,
    Measure,
    Parse,
    counter,
    gauge,
    histogram,
    number_or_none,
    summary,
    untyped,
)

__all__ = [
    "NAME",
    "RESERVED_LABELS",
    "STALE_INTERVALS",
    "Accumulator",
    "Asking",
    "Block",
    "Collector",
    "Context",
    "DeclarationError",
    "Hook",
    "Kind",
    "Measure",
    "Merge",
    "Parse",
    "Query",
    "Rows",
    "Samples",
    "block",
    "counter",
    "gauge",
    "histogram",
    "number_or_none",
    "summary",
    "untyped",
]

Merge = Literal["drop", "sum", "max", "min"]

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_LABEL = re.compile(r"[a-z_][a-z0-9_]*\Z")
_ANY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
# So many intervals without a good run, and the series of a collector that runs in the background are dropped.
STALE_INTERVALS = 3.0
# Every series of ours carries these; a collector can't have its own.
RESERVED_LABELS = frozenset({"server", "engine", "instance", "job", "le"})


@dataclass(frozen=True, slots=True)
class Block:
    """Measures that share their labels, so that a row's labels are written once for all of them.

    Attributes:
        measures: The metrics.
        labels: Label name to column. NULL is the empty label.
        fixed: Further labels, with a value that is the same for all rows.
        merge: What happens to rows with equal labels: `drop` keeps the first and counts the others, the other
            three make one of them.
        when: On which servers the block applies.
        named_by: Column whose text completes the names of the measures, which end with `_`: one metric for each text
            that it has, as pg_settings_work_mem_bytes of the measure pg_settings_. NULL leaves the row out.
        others: What the name of a metric begins with that each further column of numbers becomes, without a type;
            empty leaves such columns alone.
        ignored: Columns that are neither labels nor metrics.
        optional: Labels that are left out where the result has no such column.
    """

    measures: tuple[Measure, ...]
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    merge: Merge = "drop"
    when: Gate = ANY
    named_by: str | None = None
    others: str = ""
    ignored: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", tuple(self.measures))
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        object.__setattr__(self, "fixed", MappingProxyType(dict(self.fixed)))
        # An existing exporter's labels are what they are, but for the two that would break the page.
        copied = all(measure.drop_in for measure in self.measures)
        pattern, reserved = (_ANY_LABEL, frozenset({"server", "le"})) if copied else (_LABEL, RESERVED_LABELS)
        for label in (*self.labels, *self.fixed):
            twice = label in self.labels and label in self.fixed
            if twice or not pattern.match(label) or label.startswith("__") or label in reserved:
                name = self.measures[0].name if self.measures else self.others
                raise DeclarationError(f"{name}: {label!r} can't be a label of a collector")
        for measure in self.measures:
            if measure.name.endswith("_") != (self.named_by is not None):
                raise DeclarationError(f"{measure.name}: the name ends with _ if a column completes it, and only then")


def block(
    *measures: Measure,
    labels: Mapping[str, str] | Sequence[str] = (),
    fixed: Mapping[str, str] = MappingProxyType({}),
    merge: Merge = "drop",
    when: Gate = ANY,
    named_by: str | None = None,
    optional: Sequence[str] = (),
) -> Block:
    """A block; labels given as a sequence are columns of the same name."""
    mapping = dict(labels) if isinstance(labels, Mapping) else {label: label for label in labels}
    return Block(measures, mapping, fixed, merge, when, named_by, optional=frozenset(optional))


@dataclass(frozen=True, slots=True)
class Query:
    """SQL and where it applies; of a collector's queries the first whose gate is open is run.

    `{columns}` stands for the columns that the labels and the measures of this server need, `{limit}` for the
    collector's limit, `{schema:NAME}` for the quoted schema of an extension that the gate asks for; other names are
    those of a state that is Asking. With `pivot` the result is name and value in two columns, and becomes one row whose
    columns are the names in lower case.

    With `user_defined` the SQL is a user's: it is sent as it stands, with the account's own search_path, read-only, and
    nothing that it sets stays. No more than the collector's limit of rows is fetched.

    With `lockless` it looks at no table closely where `{limit}` is 0, and still shows what it can: so it is asked again
    where the first try has met a lock.

    With `packed` the last column has a text of so many numbers with a blank between two, nothing for one that is NULL,
    and becomes columns of these names. They stay as the server wrote them, for the page and for `state`, which
    gets texts: to take a row of MySQL apart, to make numbers of its values and to write these anew is most of its cost.
    """

    when: Gate
    sql: str
    pivot: bool = False
    user_defined: bool = False
    lockless: bool = False
    packed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collector:
    """Measures and queries about one subject.

    Attributes:
        name: Its name in the config and in the label `collector`.
        about: A sentence for people who choose collectors.
        engine: `postgres` or `mysql`.
        when: The servers it is meant for; its queries must cover all of them.
        queries: See Query.
        blocks: What comes out.
        rows: Rewrites the result before it is rendered; pure.
        state: Makes the Accumulator that each server keeps for this collector; an Asking one is not for
            collectors that go through databases.
        sampled: Makes the Samples that each server keeps for this collector, whose query is then asked once a second on
            a session of its own, while scrapes show what the samples add up to. It gets the limit, for what these may
            show. One collector of each engine at most.
        every: Seconds between runs in the background; None runs it at every scrape.
        core_share: What its runs may take of one of the server's processors: where they would take more, they come more
            seldom than `every`, unless the config says how often. For what costs the server something for each of what
            may be very many, such as statements.
        timeout: Seconds that one run may take at most; None: as `timeouts.statement` of the config says.
        limit: Rows that `{limit}` allows; what `sampled` gets.
        each_database: Run once in every database of the server; the results are put together, with the name of the
            database in the column `database`. PostgreSQL only.
        elsewhere: Seconds between runs in the databases that we are not connected to; None leaves them out. The
            registry makes a second collector of it, `<name>_elsewhere`, for the slow tier. PostgreSQL only.
        elsewhere_of: Of such a second collector, the name of the first.
        share: The part of a server's series budget that it may have, for collectors of series per object; the others
            may have half, and find it free.
        default: Whether it runs unless the config says otherwise.
        tables: On a server with more tables it steps down: it does not run, and says why, unless the config asks for
            it by name. For what costs the server something for each table. MySQL and MariaDB only.
        database: Run in this database, on the second session, instead of the one that we are connected to.
        grants: Privileges it needs besides those of every account of ours, for `check --grants`.
    """

    name: str
    about: str
    engine: Literal["postgres", "mysql"]
    queries: tuple[Query, ...]
    blocks: tuple[Block, ...]
    when: Gate = ANY
    rows: Hook | None = None
    state: Callable[[], Accumulator] | None = None
    sampled: Callable[[int | None], Samples] | None = None
    every: float | None = None
    core_share: float | None = None
    timeout: float | None = None
    limit: int | None = None
    each_database: bool = False
    elsewhere: float | None = None
    elsewhere_of: str | None = None
    share: float | None = None
    default: bool = True
    tables: int | None = None
    database: str | None = None
    grants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries", tuple(self.queries))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not _NAME.match(self.name):
            raise DeclarationError(f"collector {self.name!r}: a collector's name is snake_case")
        if not self.about.endswith("."):
            raise DeclarationError(f"collector {self.name}: its description is a sentence and ends with a full stop")
        if not self.queries or not self.blocks:
            raise DeclarationError(f"collector {self.name}: it needs at least one query and one block")
        if self.rounds and self.every is None:
            raise DeclarationError(
                f"collector {self.name}: work in another database belongs to the slow tier: give every="
            )
        if self.core_share is not None and (self.every is None or self.rounds):
            raise DeclarationError(f"collector {self.name}: core_share= is for what has an interval in one database")
        if self.elsewhere is not None and self.rounds:
            raise DeclarationError(f"collector {self.name}: each_database= goes everywhere already: no elsewhere=")
        if self.sampled is not None and (self.state or self.every or self.elsewhere):
            raise DeclarationError(f"collector {self.name}: sampled= says when it runs and what is kept of it")
        if any("{limit}" in query.sql for query in self.queries) and self.limit is None:
            raise DeclarationError(f"collector {self.name}: its SQL says {{limit}}, so give limit=")

        plain = all(measure.parse is None and measure.series == 1 for measure in self.measures())
        if any(query.packed for query in self.queries) and (self.rows is not None or not plain):
            raise DeclarationError(f"collector {self.name}: something reads the numbers that its query packs")

    def measures(self) -> list[Measure]:
        """All measures of all blocks."""
        return [measure for part in self.blocks for measure in part.measures]

    def width(self, facts: Facts) -> int:
        """How many series a row makes on a server with these facts, at most."""
        return sum(
            measure.series
            for part in self.blocks
            if part.when.passes(facts)
            for measure in part.measures
            if measure.when.passes(facts)
        )

    def derived(self) -> Collector | None:
        """The collector for the databases that this one, which reads the connected one alone, doesn't see."""
        if self.elsewhere is None:
            return None
        return replace(
            self,
            name=f"{self.name}_elsewhere",
            about=f"What {self.name} reads, in the databases that the exporter is not connected to.",
            every=self.elsewhere,
            each_database=True,
            elsewhere=None,
            elsewhere_of=self.name,
        )

    @property
    def rounds(self) -> bool:
        """Whether it needs sessions of its own, in other databases."""
        return self.each_database or self.database is not None

    @property
    def label_columns(self) -> frozenset[str]:
        """The columns that become labels."""
        return frozenset(column for part in self.blocks for column in part.labels.values())

    @property
    def user_defined(self) -> bool:
        """Whether its SQL comes from the config."""
        return self.queries[0].user_defined

    @property
    def note(self) -> str:
        """What HELP adds where the numbers are not of the moment of the scrape."""
        seconds = self.every if self.elsewhere_of else self.elsewhere
        if seconds is not None:
            # Both collectors feed one family, so both say the same.
            return f" In other databases than the connected one read in the background, every {seconds:g} s."
        if self.every is None:
            return ""
        seldom = "" if self.core_share is None else " or it would cost the server too much"
        return f" Read in the background, every {self.every:g} s unless the config says otherwise{seldom}."

    def query(self, facts: Facts) -> Query | None:
        """The query for a server, or None if none applies."""
        return next((query for query in self.queries if query.when.passes(facts)), None)

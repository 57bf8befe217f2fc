"""Gates: conditions on a server's facts, which also read as a sentence and know what would open them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.facts import Facts, Role
from exporter.failure import Reason
from exporter.own_sessions import CONNECTION_LIMIT

FLAVOR_NAMES = {"postgres": "PostgreSQL", "mysql": "MySQL", "percona": "Percona Server", "mariadb": "MariaDB"}


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a gate is closed.

    Attributes:
        text: What the gate asks for, as a sentence.
        reason: The kind of failure this is when the user asked for the collector by name.
        fix: The statement or setting that would open the gate; None where nothing can (a version).
    """

    text: str
    reason: Reason = Reason.ERROR
    fix: str | None = None


class Gate:
    """A condition on facts. Combine with `&`, `|` and `~`; `str()` gives its sentence."""

    def miss(self, facts: Facts) -> Miss | None:
        """None if the gate is open for a server with these facts, else why it is closed."""
        raise NotImplementedError

    def passes(self, facts: Facts) -> bool:
        """Whether the gate is open."""
        return self.miss(facts) is None

    def __and__(self, other: Gate) -> Gate:
        return _All((self, other))

    def __or__(self, other: Gate) -> Gate:
        return _Any((self, other))

    def __invert__(self) -> Gate:
        return _Not(self)


@dataclass(frozen=True, slots=True)
class _Leaf(Gate):
    text: str
    test: Callable[[Facts], bool]
    reason: Reason = Reason.ERROR
    fix: Callable[[Facts], str | None] | None = None

    def miss(self, facts: Facts) -> Miss | None:
        if self.test(facts):
            return None
        return Miss(f"needs {self.text}", self.reason, self.fix(facts) if self.fix else None)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _All(Gate):
    parts: tuple[Gate, ...]

    def miss(self, facts: Facts) -> Miss | None:
        # The first closed gate speaks: declarations put the version before what a user can change.
        return next((miss for part in self.parts if (miss := part.miss(facts))), None)

    def __str__(self) -> str:
        return ", ".join(str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Any(Gate):
    parts: tuple[Gate, ...]

    def miss(self, facts: Facts) -> Miss | None:
        misses: list[Miss] = []
        for part in self.parts:
            miss = part.miss(facts)
            if miss is None:
                return None
            misses.append(miss)
        # Of several closed gates the one that can be opened is worth telling.
        return next((miss for miss in misses if miss.fix), Miss(f"needs {self}", misses[0].reason))

    def __str__(self) -> str:
        return " or ".join(str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Not(Gate):
    part: Gate

    def miss(self, facts: Facts) -> Miss | None:
        return Miss(f"not for {self.part}") if self.part.passes(facts) else None

    def __str__(self) -> str:
        return f"not {self.part}"


def _versioned(flavors: tuple[str, ...], at_least: tuple[int, ...], below: tuple[int, ...] | None) -> Gate:
    names = " or ".join(FLAVOR_NAMES[flavor] for flavor in flavors)
    text = names
    if at_least:
        text += " ≥ " + ".".join(map(str, at_least))
    if below:
        text += (" and" if at_least else "") + " < " + ".".join(map(str, below))

    def test(facts: Facts) -> bool:
        return facts.flavor in flavors and facts.version >= at_least and (below is None or facts.version < below)

    return _Leaf(text, test)


def pg(*at_least: int, below: int | tuple[int, ...] | None = None) -> Gate:
    """PostgreSQL, from a major version on, optionally below another."""
    return _versioned(("postgres",), at_least, (below,) if isinstance(below, int) else below)


def mysql(*at_least: int, below: tuple[int, ...] | None = None) -> Gate:
    """MySQL and Percona Server, from a version on, optionally below another."""
    return _versioned(("mysql", "percona"), at_least, below)


def mariadb(*at_least: int, below: tuple[int, ...] | None = None) -> Gate:
    """MariaDB, from a version on, optionally below another."""
    return _versioned(("mariadb",), at_least, below)


def condition(text: str, test: Callable[[Facts], bool], *, fix: str | None = None) -> Gate:
    """A condition of its own, which `text` says in words; `fix` says what would make it true."""
    if fix is None:
        return _Leaf(text, test)
    return _Leaf(text, test, Reason.MISSING_EXTENSION, lambda _: fix)


def _role(role: Role, text: str) -> Gate:
    return _Leaf(text, lambda facts: facts.role is role)


PRIMARY = _role(Role.PRIMARY, "a primary")
REPLICA = _role(Role.REPLICA, "a replica")
RECOVERING = _role(Role.RECOVERING, "a server in point-in-time recovery")

ANY: Gate = _Leaf("any server", lambda _: True)


def extension(name: str, *at_least: int, preload: bool = False) -> Gate:
    """An extension that is installed in the database we connect to, at least at a version of its own."""

    def test(facts: Facts) -> bool:
        found = facts.extensions.get(name)
        return (
            found is not None
            and found.version >= at_least
            and (not preload or facts.preloaded is None or name in facts.preloaded)
        )

    def fix(facts: Facts) -> str:
        steps = []
        if preload and facts.preloaded is not None and name not in facts.preloaded:
            steps.append(f"add {name} to shared_preload_libraries in postgresql.conf and restart the server")
        found = facts.extensions.get(name)
        if found is None:
            steps.append(f"in database {facts.database}: CREATE EXTENSION {name};")
        elif found.version < at_least:
            steps.append(f"in database {facts.database}: ALTER EXTENSION {name} UPDATE;")
        return "; then ".join(steps)

    text = f"extension {name}" + (" ≥ " + ".".join(map(str, at_least)) if at_least else "")
    return _Leaf(text, test, Reason.MISSING_EXTENSION, fix)


def setting(name: str, value: str, *, fix: str) -> Gate:
    """A setting of the server with exactly this value; `fix` says how to set it."""
    return _Leaf(
        f"{name} = {value}",
        lambda facts: facts.settings.get(name, "").lower() == value.lower(),
        Reason.MISSING_EXTENSION,
        lambda _: fix,
    )


def _room(facts: Facts) -> bool:
    limit = facts.settings.get("connections_of_account", "")
    # 0 is how MySQL says that there is none, -1 how PostgreSQL does.
    return not limit.isdecimal() or int(limit) == 0 or int(limit) >= CONNECTION_LIMIT


def _more_room(facts: Facts) -> str:
    if facts.engine == "postgres":
        return f"ALTER ROLE {facts.account} CONNECTION LIMIT {CONNECTION_LIMIT};"
    return f"ALTER USER {facts.account} WITH MAX_USER_CONNECTIONS {CONNECTION_LIMIT};"


SAMPLED: Gate = _Leaf(
    f"an account that may have {CONNECTION_LIMIT} connections", _room, Reason.TOO_MANY_CONNECTIONS, _more_room
)


# Without these pg_stat_statements stands still, and looks like a server on which nothing runs.
RECORDED: Gate = _Leaf(
    "statements recorded (compute_query_id is not off, pg_stat_statements.track is not none)",
    lambda facts: not facts.settings.get("records_no_statements"),
    Reason.MISSING_EXTENSION,
    lambda facts: facts.settings["records_no_statements"] + " SELECT pg_reload_conf();",
)


# MariaDB runs without it, too, and then has neither its settings nor its status.
INNODB: Gate = _Leaf(
    "InnoDB",
    lambda facts: facts.settings.get("innodb", "ON") == "ON",
    Reason.MISSING_EXTENSION,
    lambda _: "set innodb=ON in the server's configuration and restart it",
)


def granted(privilege: str, *, fix: str) -> Gate:
    """A role membership or privilege that our account has; `fix` is the statement that gives it to {account}."""
    return _Leaf(
        f"privilege {privilege}",
        lambda facts: privilege in facts.grants,
        Reason.PERMISSION,
        lambda facts: fix.replace("{account}", facts.account),
    )

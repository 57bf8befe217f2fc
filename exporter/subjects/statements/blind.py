"""Whether performance_schema is told of the statements of clients at all: of what is switched off it says nothing."""

from __future__ import annotations

from collections.abc import Collection

from exporter.failure import Failure, Reason

_SETUP = "performance_schema.setup_"
_CONSUMER = f"NOT EXISTS (SELECT 1 FROM {_SETUP}consumers WHERE NAME = '{{}}' AND ENABLED = 'YES')"
_SELECT = "NAME = 'statement/sql/select' AND ENABLED = 'YES' AND TIMED = 'YES'"
_EVERYBODY = "HOST = '%' AND USER = '%' AND ROLE = '%'"
# By the kind that a row has then: whether it is off, in SQL, in words, and what mends it. Of the instruments the one
# that most statements have stands for all; of the accounts those that are named nowhere.
_ROOM = "performance_schema_digests_size"
_LENGTH = "max_digest_length"
_OFF = {
    "no statements": (
        _CONSUMER.format("global_instrumentation"),
        "the consumer global_instrumentation is off",
        f"UPDATE {_SETUP}consumers SET ENABLED = 'YES' WHERE NAME = 'global_instrumentation';",
    ),
    "no instrument": (
        f"NOT EXISTS (SELECT 1 FROM {_SETUP}instruments WHERE {_SELECT})",
        "the instruments of statements are off",
        f"UPDATE {_SETUP}instruments SET ENABLED = 'YES', TIMED = 'YES' WHERE NAME LIKE 'statement/%';",
    ),
    "no clients": (
        f"NOT EXISTS (SELECT 1 FROM {_SETUP}actors WHERE HOST = '%' AND USER = '%' AND ROLE = '%' AND ENABLED = 'YES')",
        "setup_actors leaves out all accounts but those that it names",
        f"UPDATE {_SETUP}actors SET ENABLED = 'YES' WHERE {_EVERYBODY};",
    ),
    "no digests": (
        _CONSUMER.format("statements_digest"),
        "the consumer statements_digest is off",
        f"UPDATE {_SETUP}consumers SET ENABLED = 'YES' WHERE NAME = 'statements_digest';",
    ),
    # Read-only on a server that runs.
    "no digest table": (
        f"0 IN (@@GLOBAL.{_ROOM}, @@GLOBAL.{_LENGTH})",
        f"there is no room for digests ({_ROOM} or {_LENGTH} is 0)",
        f"take {_ROOM} = 0 or {_LENGTH} = 0 out of the server's configuration and restart it",
    ),
}


def switched_off(columns: int, *, digests: bool) -> str:
    """A part of a UNION of so many columns: a row for each thing that is off, and none where statements are told."""
    nothing = ", NULL" * (columns - 1)
    return "\n".join(
        f"            UNION ALL SELECT '{kind}'{nothing} FROM (SELECT 1) AS one WHERE {off}"
        for kind, (off, _, _) in _OFF.items()
        if digests or not kind.startswith("no digest")
    )


def blindness(kinds: Collection[str]) -> Failure | None:
    """Why statements go unseen, by the kinds of all rows; None if they don't."""
    found = [_OFF[kind] for kind in _OFF if kind in kinds]
    if not found:
        return None
    return Failure(
        Reason.MISSING_EXTENSION,
        f"performance_schema does not see statements: {'; '.join(what for _, what, _ in found)}",
        fix=" ".join(fix for _, _, fix in found),
    )

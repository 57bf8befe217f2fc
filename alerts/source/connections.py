"""Connections against the limits: of the server, of a role, of a database."""

from alerts.source.model import SERVER, Alert, Recording, above, ask, threshold
from alerts.source.settings import Settings, Severity

SEVERITIES: tuple[Severity, ...] = ("warning", "critical")

_ROOM = ask("db_connections_max{%s} - db_connections_reserved{%s}", 'printf "%.0f"')


def recordings(settings: Settings) -> list[Recording]:
    """Shares between 0 and 1 of the connections that may be opened.

    The server's share is of max less reserved, since the reserved slots are closed to applications: they are turned
    away while max itself is not reached, and their share is 1 exactly then.
    """
    return [
        Recording(
            record="server:db_connections:ratio",
            expr=(
                "sum without (state) (db_connections)\n"
                f"  / on ({SERVER}) group_left ()\n"
                f"(db_connections_max - on ({SERVER}) db_connections_reserved)"
            ),
        ),
        *(_per(level, settings.minimums.connection_limit) for level in ("role", "database")),
    ]


def _per(level: str, least: int) -> Recording:
    limit = f"db_{level}_connections_max"
    return Recording(
        record=f"{level}:db_{level}_connections:ratio",
        expr=f"db_{level}_connections\n  / on ({SERVER}, {level}) group_left ()\n({limit} >= {least})",
    )


def alerts(_settings: Settings) -> list[Alert]:
    """Warning and critical for each of the three limits."""
    return [
        alert
        for severity in SEVERITIES
        for alert in (_server(severity), _limited("role", severity), _limited("database", severity))
    ]


def _server(severity: Severity) -> Alert:
    return Alert(
        name="DatabaseConnectionsHigh",
        severity=severity,
        expr=above("server:db_connections:ratio", "connections", severity),
        summary="A database server is running out of connections.",
        description=(
            "{{ $labels.server }} ({{ $labels.engine }}) uses {{ $value | humanizePercentage }} of the "
            f"{_ROOM} connections that applications may "
            f"have (threshold {threshold('connections', severity, 'humanizePercentage')}). At 100% new "
            "connections are refused."
        ),
    )


def _limited(level: str, severity: Severity) -> Alert:
    return Alert(
        name=f"DatabaseConnectionsHighFor{level.capitalize()}",
        severity=severity,
        expr=above(f"{level}:db_{level}_connections:ratio", "connections", severity),
        summary=f"A {level} is running out of the connections it is allowed.",
        description=(
            f"On {{{{ $labels.server }}}} ({{{{ $labels.engine }}}}) the {level} {{{{ $labels.{level} }}}} uses "
            f"{{{{ $value | humanizePercentage }}}} of its own connection limit "
            f"(threshold {threshold('connections', severity, 'humanizePercentage')}). At 100% its new connections are "
            "refused, whatever room the server has."
        ),
    )

"""Replicas that are behind or stopped, or lose their group or do not get into it."""

from alerts.source.model import SERVER, Alert, Recording, above, ask, threshold
from alerts.source.settings import Settings, Severity

LAG = "channel:db_replication_lag_seconds:less_delay"
GROUP = 'channel="group_replication_applier"'
_DELAY = ask("max(db_replication_delay_seconds{%s})", "humanizeDuration")


def recordings(_settings: Settings) -> list[Recording]:
    """Seconds that a replica is behind beyond the delay it was configured to keep.

    A member of a replication group that takes writes is a primary and applies what the other members wrote all the
    same; there is no delay there.
    """
    return [
        Recording(
            record=LAG,
            expr=(
                "(\n"
                f"  db_replication_lag_seconds\n    - on ({SERVER}, channel) group_left ()\n"
                "  db_replication_delay_seconds\n"
                f"  or db_replication_lag_seconds\n)\n  and on ({SERVER})\n"
                'db_info{role="replica"}\n'
                f"or db_replication_lag_seconds{{{GROUP}}}"
            ),
        )
    ]


def alerts(_settings: Settings) -> list[Alert]:
    """Lag at two thresholds, replication that does not run, and groups that lose members or do not get them."""
    severities: tuple[Severity, ...] = ("warning", "critical")
    return [
        *(_lag(severity) for severity in severities),
        Alert(
            name="DatabaseReplicationStopped",
            severity="critical",
            expr="db_replication_running == 0",
            summary="A replica has stopped replicating.",
            description=(
                "Replication on {{ $labels.server }} ({{ $labels.engine }})"
                "{{ with $labels.channel }}, channel {{ . }},{{ end }} is not running: it does not receive, or does "
                "not apply. Its data gets older and it cannot take over."
            ),
        ),
        Alert(
            name="DatabaseReplicationMembersUnreachable",
            severity="critical",
            expr="db_replication_unreachable_members > 0",
            summary="A member of a replication group does not reach others.",
            description=(
                "{{ $labels.server }} ({{ $labels.engine }}) gets no answer from {{ $value }} of the members of its "
                "replication group, and they were not put out of it. If they are half of it or more, no member that is "
                "left can write: commits hang."
            ),
        ),
        Alert(
            name="DatabaseReplicationJoining",
            severity="warning",
            expr="db_replication_joining == 1",
            summary="A member does not get into its replication group.",
            description=(
                "{{ $labels.server }} ({{ $labels.engine }}) is still in state RECOVERING: it has not got from the "
                "other members what it lacks. It takes no writes and cannot take over, so the group has one member "
                "less to lose."
            ),
        ),
    ]


def _lag(severity: Severity) -> Alert:
    return Alert(
        name="DatabaseReplicationLag",
        severity=severity,
        expr=above(LAG, "replication_lag", severity),
        summary="A replica is behind.",
        description=(
            "{{ $labels.server }} ({{ $labels.engine }})"
            "{{ with $labels.channel }}, channel {{ . }},{{ end }} is {{ $value | humanizeDuration }} "
            f"behind its source (threshold {threshold('replication_lag', severity, 'humanizeDuration')}; "
            f"a configured delay, here {_DELAY}, does not count)."
        ),
    )

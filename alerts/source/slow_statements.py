"""Statements that took longer than the threshold, and servers that cannot tell."""

from alerts.source.model import SERVER, Alert, Recording, above, ask, threshold
from alerts.source.settings import Settings


def recordings(settings: Settings) -> list[Recording]:
    """Slow statements per database over the window; a source that changes does not split the count."""
    window = settings.windows.slow_statements
    return [
        Recording(
            record=f"database:db_slow_statements:increase{window}",
            expr=f"sum without (source) (increase(db_slow_statements_total[{window}]))",
        )
    ]


def alerts(settings: Settings) -> list[Alert]:
    """Slow statements, and servers where some or all of them go unseen."""
    window = settings.windows.slow_statements
    return [
        Alert(
            name="DatabaseSlowStatements",
            severity="warning",
            expr=f"database:db_slow_statements:increase{window} >= {settings.minimums.slow_statements}",
            summary="Statements on a database server are slow.",
            description=(
                '{{ $value | printf "%.0f" }} statements'
                "{{ with $labels.database }} in database {{ . }}{{ end }} on {{ $labels.server }} "
                "({{ $labels.engine }}) took longer than "
                f"{ask('max(db_slow_statement_threshold_seconds{%s})', 'humanizeDuration')} "
                f"within the last {window}."
            ),
        ),
        Alert(
            name="DatabaseSlowStatementThresholdHigh",
            severity="info",
            expr=above("db_slow_statement_threshold_seconds", "slow_statements", "warning"),
            summary="A database server counts only statements that are slower than asked for.",
            description=(
                "{{ $labels.server }} ({{ $labels.engine }}) reports as slow only what takes longer than "
                "{{ $value | humanizeDuration }} (source: {{ $labels.source }}); statements over "
                f"{threshold('slow_statements', 'warning', 'humanizeDuration')} but under that are not seen."
            ),
        ),
        Alert(
            name="DatabaseSlowStatementsUnseen",
            severity="info",
            expr=f"db_up == 1\n  unless on ({SERVER})\ndb_slow_statement_threshold_seconds",
            summary="A database server does not tell which statements are slow.",
            description=(
                "{{ $labels.server }} ({{ $labels.engine }}) has no source of slow statements that the exporter could "
                "use; they go unseen, however slow."
            ),
        ),
    ]

"""Is the exporter there, and are the servers?"""

from alerts.source.model import Alert, Recording
from alerts.source.settings import Settings


def recordings(_settings: Settings) -> list[Recording]:
    """None: the conditions are single series."""
    return []


def alerts(settings: Settings) -> list[Alert]:
    """Exporter down, no series at all, server down."""
    return [
        Alert(
            name="DatabaseExporterDown",
            severity="critical",
            expr=f'up{{job=~"{settings.exporter_jobs}"}} == 0',
            summary="Prometheus cannot scrape the database exporter.",
            description=(
                "Prometheus gets no answer from {{ $labels.instance }} (job {{ $labels.job }}). "
                "Until it does, nothing is known of the databases behind it and no other alert of theirs can fire."
            ),
            panel_variables=("job",),
        ),
        Alert(
            name="DatabaseMetricsAbsent",
            severity="critical",
            expr="absent(db_up)",
            summary="No database is being watched.",
            description=(
                "Prometheus has no db_up series of any server: "
                "the exporter is not scraped, or has no servers configured. No other alert can fire."
            ),
            panel_variables=(),
        ),
        Alert(
            name="DatabaseServerDown",
            severity="critical",
            expr="db_up == 0",
            summary="A database server does not answer.",
            description=(
                "The exporter cannot use {{ $labels.server }} ({{ $labels.engine }}): the connection or the first "
                "query failed. The exporter itself is up."
            ),
        ),
    ]

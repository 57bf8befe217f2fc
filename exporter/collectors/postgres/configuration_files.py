"""Lines of the configuration files that the server can't use; the running server does not show them otherwise."""

from exporter.collectors.postgres.settings import Changes
from exporter.declare import Collector, Query, block, counter, gauge
from exporter.gates import granted, pg

_GRANT = "GRANT EXECUTE ON FUNCTION pg_catalog.{function}() TO {{account}};"


def _may(function: str) -> str:
    return _GRANT.format(function=function)


hba = Collector(
    name="pg_hba_file_rules",
    about="Rules in pg_hba.conf, its faulty lines and changes; needs EXECUTE on a function that pg_monitor has not.",
    engine="postgres",
    every=60,
    default=False,
    when=pg(13) & granted("pg_hba_file_rules", fix=_may("pg_hba_file_rules")),
    queries=(
        Query(
            pg(13),
            """
            SELECT 'pg_hba.conf' AS name, md5(string_agg(rule::text, E'\\n' ORDER BY rule::text)) AS told,
                   count(*) FILTER (WHERE error IS NULL) AS rules, count(error) AS errors
            FROM pg_hba_file_rules() rule""",
        ),
    ),
    state=Changes,
    blocks=(
        block(
            gauge("pg_hba_file_rules", "rules", help="Rules in pg_hba.conf as it is now, loaded or not."),
            gauge(
                "pg_hba_file_errors",
                "errors",
                help="Faulty lines in it: with one of them a reload changes nothing, and the server does not start.",
            ),
            counter("pg_hba_file_changes_total", "changes", help="Times that the file was seen to be changed."),
        ),
    ),
)

file_settings = Collector(
    name="pg_file_settings",
    about="Lines of postgresql.conf that can't be applied; needs EXECUTE on a function that pg_monitor has not.",
    engine="postgres",
    every=60,
    default=False,
    when=pg(13) & granted("pg_show_all_file_settings", fix=_may("pg_show_all_file_settings")),
    queries=(Query(pg(13), "SELECT count(error) AS errors FROM pg_show_all_file_settings()"),),
    blocks=(
        block(
            gauge(
                "pg_file_settings_errors",
                "errors",
                help="Lines of postgresql.conf and what it includes that can't be applied, some of them after a "
                "restart.",
            ),
        ),
    ),
)

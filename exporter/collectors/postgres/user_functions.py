"""Calls of functions and the time they take."""

from exporter.collectors.busiest import busiest
from exporter.collectors.lasting import lasting
from exporter.declare import Collector, Query, block, counter
from exporter.gates import pg, setting

_LABELS = ("datname", "schemaname", "funcname")

user_functions = Collector(
    name="pg_stat_user_functions",
    about="Calls of each function and the time they took, where track_functions is on; the busiest of very many.",
    engine="postgres",
    when=pg(13) & ~setting("track_functions", "none", fix="ALTER SYSTEM SET track_functions = 'pl';"),
    elsewhere=300,
    share=0.02,
    queries=(
        Query(
            pg(13),
            "SELECT current_database() AS datname, schemaname, funcname, funcid::int8 AS funcid, calls, "
            "total_time / 1000 AS total, self_time / 1000 AS self FROM pg_stat_user_functions",
        ),
    ),
    # Functions of one name differ in their arguments; together they are one series.
    state=lasting(*_LABELS, thing="funcid", counters=("calls", "total", "self"), then=busiest(*_LABELS, by=("total",))),
    blocks=(
        block(
            counter(
                "pg_stat_user_functions_calls_total",
                "calls",
                help="Calls of the functions of a name, with those that are dropped while another of the name is left.",
            ),
            counter(
                "pg_stat_user_functions_seconds_total",
                "total",
                help="Time in the function and in those that it called.",
            ),
            counter("pg_stat_user_functions_self_seconds_total", "self", help="Time in the function itself."),
            labels=_LABELS,
        ),
    ),
)

"""How far each table is past the thresholds at which autovacuum would vacuum or analyze it."""

from exporter.collectors.postgres.user_tables import LABELS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg


def _sql(most: str, unfrozen: str) -> str:
    """What autovacuum computes, with the table's own settings over the server's.

    `most` is the greatest threshold that the version knows, `unfrozen` the part of the table that inserts count for.
    """
    return f"""
    WITH tables AS (
        SELECT s.schemaname, s.relname, s.n_dead_tup AS dead, s.n_ins_since_vacuum AS inserted,
               s.n_mod_since_analyze AS changed, greatest(c.reltuples, 0)::float8 AS live, {unfrozen} AS unfrozen,
               coalesce((o ->> 'autovacuum_enabled')::bool, true) AS enabled, o
        FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
        LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(option_name, option_value) AS o FROM pg_options_to_table(c.reloptions)
        ) options ON c.reloptions IS NOT NULL
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
    ), settings AS MATERIALIZED (
        SELECT jsonb_object_agg(name, setting) AS s FROM pg_settings WHERE name ~ '^autovacuum_(vacuum|analyze)_'
    ), thresholds AS (
        SELECT schemaname, relname, dead, inserted, changed, enabled,
               CASE WHEN {most} >= 0 THEN least({most}, base + scale * live) ELSE base + scale * live END AS vacuum_at,
               CASE WHEN ins_base >= 0 THEN ins_base + ins_scale * live * unfrozen END AS insert_at,
               an_base + an_scale * live AS analyze_at
        FROM tables, settings, LATERAL (SELECT
            {_option("vacuum_threshold")} AS base, {_option("vacuum_scale_factor")} AS scale,
            {_option("vacuum_insert_threshold")} AS ins_base, {_option("vacuum_insert_scale_factor")} AS ins_scale,
            {_option("analyze_threshold")} AS an_base, {_option("analyze_scale_factor")} AS an_scale) a
    ), debts AS (
        SELECT *, dead / greatest(vacuum_at, 1) AS vacuum_debt, inserted / greatest(insert_at, 1) AS insert_debt,
               changed / greatest(analyze_at, 1) AS analyze_debt
        FROM thresholds
    ), counts AS (
        SELECT count(*) FILTER (WHERE dead > vacuum_at) AS vacuum_due,
               count(*) FILTER (WHERE inserted > insert_at) AS insert_due,
               count(*) FILTER (WHERE changed > analyze_at) AS analyze_due, count(*) FILTER (WHERE NOT enabled) AS off
        FROM debts
    ), top AS (
        SELECT * FROM debts ORDER BY greatest(vacuum_debt, insert_debt, analyze_debt) DESC LIMIT {{limit}}
    )
    SELECT current_database() AS datname, * FROM counts LEFT JOIN top ON true"""


def _option(name: str) -> str:
    return f"coalesce(o ->> 'autovacuum_{name}', s ->> 'autovacuum_{name}')::float8"


vacuum_debt = Collector(
    name="pg_vacuum_debt",
    about="Tables against the thresholds of autovacuum, their own settings respected: how many are past theirs, and "
    "the furthest.",
    engine="postgres",
    every=300,
    limit=50,
    each_database=True,
    queries=(
        Query(
            pg(18),
            _sql(
                _option("vacuum_max_threshold"),
                "CASE WHEN c.relpages > 0 THEN 1 - least(c.relallfrozen::float8 / c.relpages, 1) ELSE 1 END",
            ),
        ),
        Query(pg(13, below=18), _sql("-1", "1")),
    ),
    blocks=(
        block(
            gauge(
                "pg_tables_autovacuum_due", "vacuum_due", help="Tables with more dead rows than autovacuum waits for."
            ),
            gauge(
                "pg_tables_autovacuum_insert_due",
                "insert_due",
                help="Tables with more rows inserted since their last vacuum than autovacuum waits for.",
            ),
            gauge(
                "pg_tables_autoanalyze_due",
                "analyze_due",
                help="Tables with more rows changed since they were last analyzed than autovacuum waits for.",
            ),
            gauge("pg_tables_autovacuum_disabled", "off", help="Tables that switch autovacuum off for themselves."),
            labels=("datname",),
            merge="max",
        ),
        block(
            gauge("pg_table_autovacuum_threshold_rows", "vacuum_at", help="Dead rows at which autovacuum is due."),
            gauge(
                "pg_table_autovacuum_insert_threshold_rows",
                "insert_at",
                help="Rows inserted since the last vacuum at which autovacuum is due.",
            ),
            gauge(
                "pg_table_inserted_since_vacuum_rows",
                "inserted",
                help="Rows inserted since the last vacuum, of the tables furthest from a threshold alone.",
            ),
            gauge("pg_table_autoanalyze_threshold_rows", "analyze_at", help="Rows changed at which analyze is due."),
            gauge(
                "pg_table_autovacuum_debt_ratio",
                "vacuum_debt",
                help="Dead rows by their threshold; vacuum is due above 1. The tables furthest from theirs alone.",
            ),
            gauge(
                "pg_table_autovacuum_insert_debt_ratio",
                "insert_debt",
                help="Rows inserted since the last vacuum by their threshold.",
            ),
            gauge(
                "pg_table_autoanalyze_debt_ratio",
                "analyze_debt",
                help="Rows changed since the last analyze by their threshold.",
            ),
            labels=LABELS,
        ),
    ),
)

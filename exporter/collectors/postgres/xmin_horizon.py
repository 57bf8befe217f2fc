"""Who keeps vacuum from removing dead rows, and transactions that were prepared and forgotten."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# The functions below the views are planned in a fraction of the views' time. A VACUUM shows an xmin that no other one
# minds, unless it is VACUUM FULL, which reports its progress elsewhere.
_SQL = """
    SELECT holder, coalesce(max(age(xmin)), 0)::int8 AS age
    FROM (
        SELECT CASE WHEN backend_type = 'walsender' THEN 'standby' ELSE 'backend' END AS holder, held.xmin
        FROM pg_stat_get_activity(NULL) CROSS JOIN LATERAL (VALUES (backend_xmin), (backend_xid)) held(xmin)
        WHERE pid <> pg_backend_pid()
          AND coalesce(leader_pid, pid) NOT IN (SELECT vacuum.pid FROM pg_stat_get_progress_info('VACUUM') vacuum)
        UNION ALL
        SELECT held.* FROM pg_get_replication_slots()
        CROSS JOIN LATERAL (VALUES ('slot_xmin', xmin), ('slot_catalog_xmin', catalog_xmin)) held(holder, xmin)
        UNION ALL SELECT 'prepared', transaction FROM pg_prepared_xact()
        UNION ALL SELECT unnest(ARRAY['backend', 'standby', 'slot_xmin', 'slot_catalog_xmin', 'prepared']), NULL
    ) holders
    GROUP BY 1"""

xmin_horizon = Collector(
    name="pg_xmin_horizon",
    about="Who keeps vacuum from removing dead rows, and how far back.",
    engine="postgres",
    when=SEES_OTHERS,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_xmin_horizon_age_transactions",
                "age",
                help="Transactions begun since the oldest that this kind of holder still needs to see as it was, 0 if "
                "there is none: sessions, standbys with feedback but no slot, slots, prepared transactions.",
            ),
            labels=("holder",),
        ),
    ),
)

# From pg_database, so that a database without prepared transactions counts 0.
prepared_xacts = Collector(
    name="pg_prepared_xacts",
    about="Transactions prepared for two-phase commit, which hold locks and old rows until somebody ends them.",
    engine="postgres",
    queries=(
        Query(
            pg(13),
            """
            SELECT datname, count(gid) AS waiting,
                   coalesce(greatest(extract(epoch FROM now() - min(prepared)), 0), 0)::float8 AS oldest
            FROM pg_database LEFT JOIN pg_prepared_xact() ON dbid = oid
            WHERE datallowconn GROUP BY 1""",
        ),
    ),
    blocks=(
        block(
            gauge("pg_prepared_xacts", "waiting", help="Transactions prepared and neither committed nor rolled back."),
            gauge("pg_prepared_xacts_oldest_seconds", "oldest", help="Age of the oldest of them, 0 if there is none."),
            labels=("datname",),
        ),
    ),
)

"""Who holds others up: the sessions at the root of all waits for locks."""

from exporter.collectors.postgres.own import SEES_OTHERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# pg_blocking_pids stops everybody who takes a lock for a moment, so it is asked for a bounded number of sessions and
# only while some wait: those that wait longest, and those of the sessions before them that wait too. One that waits
# and was not asked is no root. It says 0 for a prepared transaction, which has no session. Of a deadlock nobody is
# the root; the server ends one of its own. The function below pg_stat_activity is planned in a fraction of the view's
# time.
_SQL = """
    WITH RECURSIVE activity AS MATERIALIZED (
        SELECT pid, state, wait_event_type, query_start, xact_start FROM pg_stat_get_activity(NULL)
    ), waiting AS MATERIALIZED (
        SELECT pid, query_start FROM activity WHERE wait_event_type = 'Lock'
    ), longest AS MATERIALIZED (
        SELECT pid FROM waiting ORDER BY query_start LIMIT {limit}
    ), direct AS MATERIALIZED (
        SELECT DISTINCT pid AS blocked, unnest(pg_blocking_pids(pid)) AS blocker FROM longest
    ), between AS MATERIALIZED (
        SELECT pid FROM waiting
        WHERE pid IN (SELECT blocker FROM direct) AND pid NOT IN (SELECT pid FROM longest)
        ORDER BY query_start LIMIT {limit}
    ), edges AS MATERIALIZED (
        SELECT blocked, blocker FROM direct
        UNION SELECT pid, unnest(pg_blocking_pids(pid)) FROM between
    ), unasked AS (
        SELECT pid FROM waiting EXCEPT (SELECT pid FROM longest UNION SELECT pid FROM between)
    ), behind AS (
        SELECT blocker AS root, blocked FROM edges
        WHERE blocker NOT IN (SELECT blocked FROM edges) AND blocker NOT IN (SELECT pid FROM unasked)
        UNION
        SELECT root, edges.blocked FROM behind JOIN edges ON blocker = behind.blocked
    ), roots AS (
        SELECT root, count(*) AS held_up,
               CASE WHEN root = 0 THEN 'prepared'
                    WHEN state IN ('active', 'fastpath function call') THEN 'active'
                    WHEN state LIKE 'idle in transaction%' THEN 'idle_in_transaction' ELSE 'other' END AS state,
               extract(epoch FROM now() - CASE WHEN root = 0 THEN (SELECT min(prepared) FROM pg_prepared_xact())
                                               ELSE xact_start END)::float8 AS age
        FROM behind LEFT JOIN activity ON pid = root GROUP BY root, 3, 4
    )
    SELECT states.state, count(root) AS sessions, coalesce(max(held_up), 0) AS longest_queue,
           CASE WHEN count(root) = 0 THEN 0 ELSE greatest(max(age), 0) END AS age
    FROM (VALUES ('active'), ('idle_in_transaction'), ('prepared'), ('other')) states(state)
    LEFT JOIN roots USING (state) GROUP BY 1"""

blocking = Collector(
    name="pg_blocking",
    about="Sessions that hold others up and wait for nobody, and how many wait behind them.",
    engine="postgres",
    when=SEES_OTHERS,
    limit=100,
    queries=(Query(pg(13), _SQL),),
    blocks=(
        block(
            gauge(
                "pg_blocking_root_sessions",
                "sessions",
                help="Sessions that hold locks others wait for and wait for none themselves, by state; prepared: "
                "transactions prepared for two-phase commit, as one.",
            ),
            labels=("state",),
        ),
        block(
            gauge(
                "pg_blocking_longest_queue_sessions",
                "longest_queue",
                help="Sessions that one of those holds up at most, directly or through others.",
            ),
            gauge(
                "pg_blocking_root_oldest_seconds",
                "age",
                help="Age of the oldest transaction among those that hold others up, 0 if there is none.",
            ),
            merge="max",
        ),
    ),
)

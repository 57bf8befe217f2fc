"""Sequences near their end, or near the end of the column that they fill."""

from exporter.collectors.postgres.locked import BUSY_FOR_WRITERS
from exporter.declare import Collector, Query, block, gauge
from exporter.gates import pg

# A column may end before its sequence does: a serial column of int4 fed by a sequence of int8, or one whose default is
# its next value (1574) as an int4 or int2 (480, 714) and nothing else. A domain has the output function of the type at
# the bottom, and ends where that does. A sequence that cycles has no end. One that somebody locks or that we may not
# read is not asked: even asking would wait or fail. None is near its end only if all were asked.
_SQL = """
    WITH {busy}, fed AS (
        SELECT objid AS sequence, refobjid AS attrelid, refobjsubid AS attnum
        FROM pg_sequence JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = seqrelid AND objsubid = 0
        WHERE refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
        UNION
        SELECT refobjid, adrelid, adnum
        FROM pg_attrdef a JOIN pg_depend ON classid = 'pg_attrdef'::regclass AND objid = a.oid
        WHERE refclassid = 'pg_class'::regclass AND refobjsubid = 0
          AND adbin::text
              ~ '^({COERCETODOMAIN :arg )?{FUNCEXPR :funcid (480|714) [^{}]*:args \\({FUNCEXPR :funcid 1574 '
    ), columns AS (
        SELECT sequence, min(CASE typoutput WHEN 'int2out'::regproc THEN 32767
                                            WHEN 'int4out'::regproc THEN 2147483647 END) AS most
        FROM fed JOIN pg_attribute USING (attrelid, attnum) JOIN pg_type t ON t.oid = atttypid GROUP BY 1
    ), sequences AS (
        SELECT c.oid, nspname AS schemaname, c.relname, seqincrement > 0 AS up,
               has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable,
               {limit} > 0 AND c.oid NOT IN (SELECT relation FROM busy) AS free,
               greatest(seqmin, - columns.most - 1)::float8 AS least, least(seqmax, columns.most)::float8 AS most
        FROM pg_sequence q JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace
        LEFT JOIN columns ON sequence = c.oid
        WHERE NOT seqcycle AND c.relpersistence = 'p' AND nspname !~ '^pg_'
    ), asked AS (
        SELECT *, CASE WHEN readable AND free THEN pg_sequence_last_value(oid) END AS last FROM sequences
    ), used AS (
        SELECT *, CASE WHEN up THEN (last - least) / nullif(most - least, 0)
                       ELSE (most - last) / nullif(most - least, 0) END AS ratio
        FROM asked
    ), counts AS (
        SELECT CASE WHEN count(*) FILTER (WHERE ratio > 0.75 OR (readable AND free) IS NOT true) = 0 THEN 0
                    ELSE nullif(count(*) FILTER (WHERE ratio > 0.75), 0) END AS near_end,
               count(*) FILTER (WHERE NOT readable) AS unreadable
        FROM used
    ), top AS (
        SELECT schemaname, relname, ratio FROM used WHERE ratio IS NOT NULL ORDER BY ratio DESC LIMIT {limit}
    )
    SELECT current_database() AS datname, * FROM counts LEFT JOIN top ON true"""

sequences = Collector(
    name="pg_sequences",
    about="How much of sequences is used up, the type of the column they fill respected; the furthest alone.",
    engine="postgres",
    every=300,
    limit=50,
    each_database=True,
    queries=(Query(pg(13), _SQL.replace("{busy}", BUSY_FOR_WRITERS), lockless=True),),
    blocks=(
        block(
            gauge(
                "pg_sequences_near_end",
                "near_end",
                help="Sequences that are used up by more than three quarters; absent while none is known to be and "
                "one is locked or may not be read.",
            ),
            gauge(
                "pg_sequences_unreadable",
                "unreadable",
                help="Sequences that nothing is known of, since the account may not read them: "
                "GRANT SELECT ON SEQUENCE, or pg_read_all_data from PostgreSQL 14 on.",
            ),
            labels=("datname",),
            merge="max",
        ),
        block(
            gauge(
                "pg_sequence_used_ratio",
                "ratio",
                help="Part of the sequence, or of the type of its column, that is used up; the furthest of each "
                "database.",
            ),
            labels={"datname": "datname", "schemaname": "schemaname", "sequencename": "relname"},
        ),
    ),
)

"""Replication slots: which are in use, and how much WAL they hold back."""

from exporter.collectors.postgres.lsn import LATEST
from exporter.declare import Block, Collector, Query, block, gauge
from exporter.gates import pg

_SQL = f"""
    SELECT slot_name, slot_type, plugin, temporary::text AS temporary, database, active::int AS active, 1 AS one,
           wal_status,
           CASE WHEN wal_status IS NOT NULL THEN 1 END AS has_status, safe_wal_size,
           (latest - restart_lsn)::int8 AS retained, (latest - '0/0')::int8 AS latest,
           CASE WHEN active THEN (confirmed_flush_lsn - '0/0')::int8 END AS confirmed,
           (latest - confirmed_flush_lsn)::int8 AS unconfirmed,
           age(xmin)::int8 AS xmin_age, age(catalog_xmin)::int8 AS catalog_xmin_age{{more}}
    FROM pg_replication_slots CROSS JOIN (SELECT {LATEST} AS latest) now"""
_13 = ", NULL AS two_phase, NULL AS failover, NULL AS synced"
_14 = ", two_phase::text AS two_phase, NULL AS failover, NULL AS synced"
# 16 says conflicting of every slot that was lost, whatever for.
_17 = """, two_phase::text AS two_phase, failover::text AS failover, synced::text AS synced,
           conflicting::int AS conflicting, invalidation_reason,
           CASE WHEN invalidation_reason IS NOT NULL THEN 1 END AS invalidated,
           extract(epoch FROM inactive_since)::float8 AS inactive_since"""
_18 = f"{_17}, (two_phase_at - '0/0')::int8 AS two_phase_at"


def _since(more: str) -> str:
    return _SQL.replace("{more}", more)


def _by_slot(prefix: str) -> tuple[Block, Block]:
    """Families that postgres_exporter 0.20 renamed; both names are served."""
    return (
        block(
            gauge(
                f"{prefix}_slot_current_wal_lsn",
                "latest",
                help="Position up to which this server has WAL.",
                drop_in=True,
            ),
            gauge(
                f"{prefix}_slot_confirmed_flush_lsn",
                "confirmed",
                help="Position up to which the consumer of an active logical slot has confirmed.",
                drop_in=True,
            ),
            gauge(f"{prefix}_slot_is_active", "active", help="1 if the slot is in use.", drop_in=True),
            gauge(
                f"{prefix}_safe_wal_size_bytes",
                "safe_wal_size",
                help="Bytes that can still be written before the slot may be lost, if there is a limit.",
                drop_in=True,
            ),
            labels=("slot_name", "slot_type"),
        ),
        block(
            gauge(f"{prefix}_wal_status", "has_status", help="1; whether the slot's WAL is still there.", drop_in=True),
            labels=("slot_name", "slot_type", "wal_status"),
        ),
    )


slots = Collector(
    name="pg_replication_slots",
    about="Replication slots: in use or not, the WAL they hold back, and whether it is still there.",
    engine="postgres",
    queries=(
        Query(pg(18), _since(_18)),
        Query(pg(17), _since(_17)),
        Query(pg(14), _since(_14)),
        Query(pg(13), _since(_13)),
    ),
    blocks=(
        block(
            gauge("pg_replication_slots_active", "active", help="1 if the slot is in use.", drop_in=True),
            gauge(
                "pg_replication_slots_pg_wal_lsn_diff",
                "retained",
                help="Bytes of WAL that the slot holds back.",
                drop_in=True,
            ),
            labels=("slot_name", "database"),
        ),
        *_by_slot("pg_replication_slot"),
        *_by_slot("pg_replication_slots"),
        block(
            gauge(
                "pg_replication_slot_unconfirmed_bytes", "unconfirmed", help="WAL that its consumer has not confirmed."
            ),
            gauge(
                "pg_replication_slot_xmin_age_transactions",
                "xmin_age",
                help="Transactions begun since the oldest whose rows the slot keeps.",
            ),
            gauge(
                "pg_replication_slot_catalog_xmin_age_transactions",
                "catalog_xmin_age",
                help="Transactions begun since the oldest whose rows in catalogs the slot keeps.",
            ),
            gauge(
                "pg_replication_slot_conflicting",
                "conflicting",
                help="1 if the logical slot was lost in a conflict with recovery.",
                when=pg(17),
            ),
            gauge(
                "pg_replication_slot_inactive_since_timestamp_seconds",
                "inactive_since",
                help="Since when nobody uses the slot.",
                when=pg(17),
            ),
            gauge(
                "pg_replication_slot_two_phase_lsn_bytes",
                "two_phase_at",
                help="Position from which on prepared transactions are decoded, if they are.",
                when=pg(18),
            ),
            labels=("slot_name", "slot_type"),
        ),
        block(
            gauge(
                "pg_replication_slot_info",
                "one",
                help="1; what kind of slot it is: two_phase, which PostgreSQL tells from 14 on, decodes prepared "
                "transactions; failover and synced, from 17 on, say that standbys copy it, and that it is such a copy.",
            ),
            labels=("slot_name", "slot_type", "plugin", "temporary", "two_phase", "failover", "synced"),
        ),
        block(
            gauge("pg_replication_slot_invalidated", "invalidated", help="1; why the slot was lost.", when=pg(17)),
            labels=("slot_name", "slot_type", "invalidation_reason"),
            when=pg(17),
        ),
    ),
)

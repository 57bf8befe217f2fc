"""What the exporter learns about a PostgreSQL server: who it is, what it can do and what we may do on it."""

from __future__ import annotations

import re
from types import MappingProxyType

from exporter.engines.deadline import Deadline
from exporter.engines.postgres.errors import Login, failure, identifier
from exporter.engines.postgres.session import PostgresSession
from exporter.facts import Extension, Facts, Identity, Role
from exporter.failure import Failure, Reason

# primary_conninfo holds a password, so only pg_read_all_settings may look; what we can't see stays NULL.
_IDENTITY = """
SELECT {system} AS system,
       extract(epoch FROM pg_postmaster_start_time())::float8 AS start_time,
       pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN
           CASE WHEN concat(current_setting('recovery_target'), current_setting('recovery_target_lsn'),
                            current_setting('recovery_target_name'), current_setting('recovery_target_time'),
                            current_setting('recovery_target_xid')) <> '' THEN false
                WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) THEN true
                WHEN pg_has_role('pg_read_all_settings', 'USAGE')
                THEN current_setting('primary_conninfo', true) <> '' END
       END AS follows
"""
_WITH_SYSTEM = _IDENTITY.format(system="(SELECT system_identifier::text FROM pg_control_system())")
_WITHOUT_SYSTEM = _IDENTITY.format(system="NULL::text")

_SETTINGS = (
    "block_size",
    "compute_query_id",
    "log_min_duration_statement",
    "max_connections",
    "pg_stat_statements.track",
    "reserved_connections",
    "server_encoding",
    "server_version",
    "server_version_num",
    "shared_preload_libraries",
    "superuser_reserved_connections",
    "track_activities",
    "track_activity_query_size",
    "track_counts",
    "track_functions",
    "track_io_timing",
    "track_wal_io_timing",
    "wal_level",
)
_GRANTS = (
    "pg_monitor",
    "pg_read_all_settings",
    "pg_read_all_stats",
    "pg_read_server_files",
    "pg_stat_scan_tables",
    "pg_use_reserved_connections",
)
# That nobody but superusers may execute, unless somebody grants it.
_FUNCTIONS = ("pg_hba_file_rules", "pg_show_all_file_settings", "pg_show_replication_origin_status")
# Databases of managed clouds that nobody else can enter.
PROVIDERS_OWN = ("alloydbadmin", "azure_maintenance", "azure_sys", "cloudsqladmin", "rdsadmin")


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# What is set for our role or database alone, such as that nothing of the exporter is recorded, says nothing of others.
# A pooler may know the database under another name, so its own is asked for; and the account may be gone meanwhile,
# whose name can't be told then.
_ALL_SETTINGS = f"""
SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({_list(_SETTINGS)})
UNION ALL SELECT 'database', current_database()
UNION ALL SELECT 'connections_of_account', rolconnlimit::text FROM pg_roles
    WHERE oid = (SELECT usesysid FROM pg_stat_get_activity(pg_backend_pid()))
UNION ALL SELECT 'records_no_statements', string_agg(format('ALTER SYSTEM SET %s = %L;', name, usual), ' ')
    FROM pg_settings JOIN (
        VALUES ('compute_query_id', 'off', 'auto'), ('pg_stat_statements.track', 'none', 'top')
    ) AS off (setting_name, value, usual) ON name = setting_name AND setting = value
    WHERE source NOT IN ('database', 'user', 'database user')
    HAVING count(*) > 0
"""
_ALL_GRANTS = f"""
SELECT rolname FROM pg_roles WHERE rolname IN ({_list(_GRANTS)}) AND pg_has_role(oid, 'USAGE')
UNION ALL SELECT 'superuser' WHERE current_setting('is_superuser') = 'on'
UNION ALL SELECT proname FROM pg_proc
WHERE proname IN ({_list(_FUNCTIONS)}) AND pronamespace = 'pg_catalog'::regnamespace
  AND has_function_privilege(oid, 'EXECUTE')
"""
_EXTENSIONS = """
SELECT e.extname, e.extversion, n.nspname, current_database()
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""
# A connection limit of -2 marks a database whose DROP was interrupted.
_DATABASES = f"""
SELECT datname, has_database_privilege(oid, 'CONNECT') FROM pg_database
WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 AND datname NOT IN ({_list(PROVIDERS_OWN)})
ORDER BY datname
"""


def identify(session: PostgresSession, deadline: Deadline) -> Identity:
    """Who answers: the system identifier, pg_postmaster_start_time() and whether and whom it follows.

    A server in recovery is recovering if it has a recovery target (a restore often keeps the primary_conninfo of the
    standby it was), a replica if it has a WAL receiver or a primary_conninfo (which outlives a dead receiver), and
    recovering if it has neither. Where we may not see primary_conninfo it counts as a replica.

    Raises:
        Failure: As of `Session.run`.
    """
    try:
        rows = session.run(_WITH_SYSTEM if session.knows_system else _WITHOUT_SYSTEM, deadline).rows
    except Failure as refused:
        if refused.broken or not session.knows_system or refused.reason not in {Reason.PERMISSION, Reason.ERROR}:
            raise
        # Some clouds lock pg_control_system(); the address then stands for the server, its start time for its life.
        session.knows_system = False
        rows = session.run(_WITHOUT_SYSTEM, deadline).rows
    [(system, start_time, in_recovery, follows)] = rows
    role = Role.PRIMARY
    if in_recovery:
        role = Role.RECOVERING if follows is False else Role.REPLICA
    return Identity(system or session.address, start_time, role)


def learn(session: PostgresSession, identity: Identity, deadline: Deadline) -> Facts:
    """Version, settings (pg_settings), extensions of the connected database (pg_extension) and our memberships.

    Raises:
        Failure: As of `Session.run`.
    """
    settings = dict(session.run(_ALL_SETTINGS, deadline).rows)
    grants = frozenset(name for (name,) in session.run(_ALL_GRANTS, deadline).rows)
    extensions = {
        name: Extension(_integers(version), schema, database)
        for name, version, schema, database in session.run(_EXTENSIONS, deadline).rows
    }
    number = int(settings["server_version_num"])
    return Facts(
        engine="postgres",
        flavor="postgres",
        version=(number // 10_000, number % 10_000),
        version_text=settings["server_version"],
        identity=identity,
        database=settings.pop("database"),
        extensions=MappingProxyType(extensions),
        preloaded=_libraries(settings.get("shared_preload_libraries")),
        account=identifier(session.login.user),
        grants=grants,
        settings=MappingProxyType(settings),
        pooled=session.pooled,
        certificate_expiry=session.certificate_expiry,
    )


def databases(session: PostgresSession, deadline: Deadline) -> dict[str, Failure | None]:
    """Databases by name, without templates and those of the cloud provider, and why not if we may not connect to one.

    From pg_database; a refusal that is known beforehand is not asked for, and logged by the server, in each round.

    Raises:
        Failure: As of `Session.run`.
    """
    return {
        name: None if open_to_us else _no_privilege(session, name)
        for name, open_to_us in session.run(_DATABASES, deadline).rows
    }


def _no_privilege(session: PostgresSession, database: str) -> Failure:
    text = f'permission denied for database "{database}"'
    return failure("42501", text, Login(session.login.user, database), connecting_to=session.address)


def _integers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _libraries(setting: str | None) -> frozenset[str] | None:
    if setting is None:
        return None
    # Entries may be quoted, or paths such as $libdir/pg_stat_statements.
    names = (entry.strip().strip('"').rpartition("/")[2].removesuffix(".so") for entry in setting.split(","))
    return frozenset(name for name in names if name)

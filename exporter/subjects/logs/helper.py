"""The function by which PostgreSQL's log is read over SQL, and what it takes to call it."""

from __future__ import annotations

# An administrator runs this once in the database that the exporter connects to. pg_read_binary_file can read any file
# of the server; the helper reads those that pg_ls_logdir lists, and gives NULL for anything else.
HELPER = """\
CREATE SCHEMA IF NOT EXISTS database_exporter;
CREATE OR REPLACE FUNCTION database_exporter.read_log(name text, start bigint, most bigint) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $helper$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_ls_logdir() AS listed WHERE listed.name = read_log.name) THEN
    RETURN NULL;
  END IF;
  RETURN pg_read_binary_file(current_setting('log_directory') || '/' || name, start, least(most, 16777216), true);
END
$helper$;
REVOKE ALL ON FUNCTION database_exporter.read_log(text, bigint, bigint) FROM PUBLIC;
GRANT USAGE ON SCHEMA database_exporter TO {account};
GRANT EXECUTE ON FUNCTION database_exporter.read_log(text, bigint, bigint) TO {account};"""

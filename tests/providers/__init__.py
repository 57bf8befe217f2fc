"""Real servers for tests, with or without Docker.

In a test, ask for a fixture; its type is `tests.providers.base.DatabaseServer`:

- ``server``: every server chosen with ``--servers`` (``all``, ``edges`` or ``postgres-18,mysql-9.7``), one after the
  other. ``@pytest.mark.engine("postgres")`` or ``engine("mysql")`` (which includes MariaDB) narrows it, and
  ``@pytest.mark.flavor("mariadb")`` further. ``replica`` is a replica of the same server.
- ``postgres``, ``mysql``, ``mariadb``: the newest chosen one; ``postgres_standby``, ``mysql_replica``,
  ``mariadb_replica``: a replica of it (``replica.primary`` is the primary).
- ``fresh_server("postgres-18", {"max_connections": "5"}, tls=True)``: a server for this test alone, removed after it;
  with ``tls=True`` clients verify it by ``server.certificate.authority``. MariaDB keeps performance_schema off unless
  asked: ``fresh_server("mariadb-11.8", {"performance_schema": "ON"})``; ``env={"TZ": ...}`` is for its environment.
- ``program("peer", [tool("postgres_exporter"), ...], env={...}, url="http://...")`` runs a program until the end of the
  test; ``tests.providers.tools.tool`` gives prometheus, promtool, alertmanager, amtool, postgres_exporter,
  mysqld_exporter, pgbench, psql, pg_dump, pg_basebackup.
- ``prometheus({"scrape_configs": [...]})``: a real Prometheus 3 with ``query``, ``value``, ``targets``,
  ``wait_for_targets``. ``pgbouncer(postgres, [account], {"default_pool_size": "1"})``: a pool in transaction mode.
- ``docker_engine``, ``base_image``: a Docker engine, started if there is none, and an image to build the Dockerfile on:
  ``docker build --network=host --build-arg BASE=<base_image> .`` with ``DOCKER_HOST=<docker_engine.host>`` and, where
  there is no buildx, ``DOCKER_BUILDKIT=0``; ``docker_engine.client`` is docker-py's.
- ``fleet``: servers by name, ``fleet.server("postgres-13")``.

The others are shared by the whole session: give databases, tables and accounts of a test names of its own, and leave
settings as they were. ``@pytest.mark.full`` marks what only ``--full`` runs.

A server does::

    server.execute("SELECT 1")                          # as administrator, autocommit; list of tuples
    server.execute("SELECT %s", "mydb", params=(1,))
    with server.connect("mydb", user, password) as c:   # psycopg or PyMySQL, autocommit
    account = server.account()                          # the exporter's least-privilege account, with a password
    server.url(account, "mydb")
    server.host, server.port, server.socket, server.data, server.log, server.log_text()
    server.version, server.engine, server.flavor        # (18, 1), "postgres", "postgres"
    server.pause(); server.resume()                     # SIGSTOP and SIGCONT on every process of it
    server.stop(); server.start(); server.kill()        # same port and data after
    server.restart(max_connections="50")                # settings of the configuration file
    standby = server.replica()                          # a further one; standby.wait_until_caught_up()

From a shell: ``python -m tests.providers start postgres-18 mariadb-11.8 --standby`` prints where they listen and stays
until Ctrl-C.

Servers that cannot be had fail the tests that need them, with a sentence that says what is missing: nothing is
skipped. Programs are fetched once, into $XDG_CACHE_HOME/database-exporter or its default (for root:
/var/cache/database-exporter).
"""

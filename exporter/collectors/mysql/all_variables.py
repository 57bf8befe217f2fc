"""Every setting of the server that is a number or a switch, and what the server calls its isolation and its cluster."""

from __future__ import annotations

import re
from typing import Any

from exporter.collectors.mysql.values import number
from exporter.collectors.mysql.variables import variables
from exporter.declare import Collector, Context, Query, Rows, block, gauge
from exporter.gates import mariadb, mysql

_PREFIX = "mysql_global_variables_"
_GCACHE = re.compile(r"gcache\.size = (\d+)([KMGT]?);")
_FACTORS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Texts, even where they look like a number: a version of two parts, the name of a container, which is hexadecimal, a
# time zone as -03, a user or a password.
TEXTS = frozenset(
    (
        *("version", "innodb_version", "hostname", "system_time_zone", "report_host", "report_user", "report_password"),
        *("wsrep_node_name", "wsrep_cluster_name"),
    )
)


def told(rows: Rows, context: Context) -> Rows:
    """A row for each variable that is a number and that the scrape doesn't read; one for what is text."""
    scraped = {
        measure.name.removeprefix(_PREFIX) for measure in variables.measures() if measure.when.passes(context.facts)
    }
    shown = {str(name).lower(): value for name, value in rows.rows}
    options = _GCACHE.search(str(shown.get("wsrep_provider_options", "")))
    first: dict[str, Any] = {
        "level": shown.get("transaction_isolation") or shown.get("tx_isolation"),
        "wsrep_cluster_name": shown.get("wsrep_cluster_name") or None,
        "gcache": int(options[1]) * _FACTORS[options[2]] if options else None,
        "one": 1,
    }
    first["cluster"] = 1 if first["wsrep_cluster_name"] else None
    found = [first]
    for name, text in shown.items():
        value = number(text)
        if name not in scraped and name not in TEXTS and value is not None:
            found.append({"variable": name.replace(".", "_"), "value": value})
    return Rows.of((*first, "variable", "value"), found)


all_variables = Collector(
    name="mysql_all_variables",
    about="Every setting that is a number or a switch, beside those that are read at each scrape.",
    engine="mysql",
    every=60,
    when=mysql(8) | mariadb(10, 6),
    queries=(Query(mysql(8) | mariadb(10, 6), "SHOW GLOBAL VARIABLES"),),
    rows=told,
    blocks=(
        block(
            gauge(
                _PREFIX, "value", help="The setting of this name, 1 for on and yes and 0 for off and no.", drop_in=True
            ),
            named_by="variable",
        ),
        block(
            gauge("mysql_transaction_isolation", "one", help="1; how transactions are isolated.", drop_in=True),
            labels=("level",),
            merge="max",
        ),
        block(
            gauge("mysql_galera_variables_info", "cluster", help="1; the name of the cluster.", drop_in=True),
            labels=("wsrep_cluster_name",),
            merge="max",
        ),
        block(
            gauge("mysql_galera_gcache_size_bytes", "gcache", help="Size of Galera's write-set cache.", drop_in=True),
            merge="max",
        ),
    ),
)

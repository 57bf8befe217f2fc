"""The config file: what it means when it is right, and what is said, where, when it is wrong."""

import traceback
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.commands import serve
from exporter.config import Config, ConfigError, Known, load, load_text
from exporter.switching.flags import take

CANARY = "canary-7Q!x"
KNOWN = Known({"connections": "postgres", "statements": "postgres", "replication": "postgres", "mysql_binlog": "mysql"})


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, source="c.yml", known=KNOWN, env={"SET": "value"})
    return [str(problem) for problem in caught.value.problems]


def one(server: str, rest: str = "") -> Config:
    return load_text(f"servers:\n  - {server}\n{rest}", known=KNOWN, env={"PORT": "6000", "USER": "ann"})


PG = "servers:\n  - url: postgresql://mon@db\n"
WRONG = {
    # The text of the file as such.
    "": ["c.yml:1:1: is empty; start with 'servers:' (config.example.yml shows every key)"],
    "# only a comment\n": ["c.yml:1:1: is empty; start with 'servers:' (config.example.yml shows every key)"],
    "- url\n": ["c.yml:1:1: must be a mapping that starts with 'servers:' (config.example.yml shows every key)"],
    "servers:\n\t- url: x\n": ["c.yml:2:1: there is a tab here; indent with spaces"],
    "servers:\n  - name: a\n   host: b\n": ["c.yml:3:4: the indentation does not fit the lines above"],
    "servers: [\n": ["c.yml:2:1: this is not valid YAML"],
    "servers:\n  - name: 'a\n": ["c.yml:2:11: a quote opened here is not closed"],
    "servers:\n  - name: a: b\n": [
        "c.yml:2:12: there is a ':' too many; put the value in quotes or correct the indentation"
    ],
    PG + "---\nservers:\n": ["c.yml:3:1: there is a second document here; remove the '---'"],
    PG + "    name: \x07\n": ["c.yml:3:11: there is a control character here; remove it"],
    "servers: &all\n  - *all\n": [
        "c.yml:1:10: servers[0]: anchors (&, *) make this contain itself or grow too large; write it out"
    ],
    # Keys.
    "server:\n  - url: x\n": [
        "c.yml:1:1: servers: is missing or empty",
        "c.yml:1:1: server: unknown key; did you mean 'servers'?",
    ],
    "servers:\n": ["c.yml:1:9: servers: is missing or empty"],
    "servers: []\n": ["c.yml:1:10: servers: is empty; add at least one"],
    "servers: 7\n": ["c.yml:1:10: servers: must be a list, each item on a line that starts with '- '"],
    "servers:\n  - 7\n": [
        "c.yml:2:5: servers[0]: must be a mapping: lines of 'key: value', indented below it"
    ],
    "servers:\n  - urll: postgresql://mon@db\n": ["c.yml:2:5: servers[0].urll: unknown key; did you mean 'url'?"],
    PG + "    paussed:\n": ["c.yml:3:5: servers[0].paussed: unknown key; did you mean 'paused'?"],
    PG + "    timeouts: {statment: 3s}\n": [
        "c.yml:3:16: servers[0].timeouts.statment: unknown key; did you mean 'statement'?"
    ],
    PG + "    timeouts: {zz: 3s}\n": [
        ("c.yml:3:16: servers[0].timeouts.zz: unknown key; "
        "known are connect, lock, scrape_default, scrape_offset, statement")
    ],
    PG + "    collectors: {statements: {evry: 5m}}\n": [
        "c.yml:3:31: servers[0].collectors.statements.evry: unknown key; did you mean 'every'?"
    ],
    PG + "    collectors: {statment: true}\n": [
        "c.yml:3:18: servers[0].collectors.statment: unknown collector; did you mean 'statements'?"
    ],
    PG + "defaults:\n  collectors: {zzz: true}\n": [
        ("c.yml:4:16: defaults.collectors.zzz: unknown collector; "
        "known are connections, mysql_binlog, replication, statements")
    ],
    PG + "defaults:\n  url: postgresql://x\n": [
        ("c.yml:4:3: defaults.url: unknown key; known are application_name, cluster, collectors, database, databases, "
        "engine, heartbeat, max_series, password, password_file, paused, pooler, port, projects, queries, "
        "queries_files, size_limit, slow_log, statements, thresholds, timeouts, tls, user")
    ],
    PG + "    name: a\n    name: b\n": [
        "c.yml:4:5: servers[0].name: the key 'name' is there twice, first on line 3; remove one"
    ],
    PG + "    ? [a, b]\n    : 1\n": ["c.yml:2:5: servers[0]: a key must be a plain word"],
    # Values.
    PG + "    port: many\n": ["c.yml:3:11: servers[0].port: must be a whole number"],
    PG + "    port: 0\n": ["c.yml:3:11: servers[0].port: must be at least 1"],
    PG + "    port: 70000\n": ["c.yml:3:11: servers[0].port: must be at most 65535"],
    PG + "    paused: maybe\n": ["c.yml:3:13: servers[0].paused: must be true or false"],
    PG + "    user: 5\n": ["c.yml:3:11: servers[0].user: must be text; put it in quotes"],
    PG + "    name: ''\n": ["c.yml:3:11: servers[0].name: must be 1 to 200 printable characters"],
    PG + "    pooler: transactoin\n": [
        "c.yml:3:13: servers[0].pooler: must be one of auto, transaction, none; did you mean 'transaction'?"
    ],
    PG + "    tls: {mode: verify-ful}\n": [
        ("c.yml:3:17: servers[0].tls.mode: must be one of disable, prefer, require, verify-ca, verify-full; "
        "did you mean 'verify-full'?")
    ],
    PG + "    heartbeat: {tabel: beat}\n": [
        "c.yml:3:17: servers[0].heartbeat.tabel: unknown key; did you mean 'table'?"
    ],
    PG + "    heartbeat: {database: ''}\n": [
        "c.yml:3:27: servers[0].heartbeat.database: must be 1 to 200 printable characters"
    ],
    PG + "    heartbeat: {utc: maybe}\n": ["c.yml:3:22: servers[0].heartbeat.utc: must be true or false"],
    PG + "    heartbeat: percona.heartbeat\n": [
        "c.yml:3:16: servers[0].heartbeat: must be a mapping: lines of 'key: value', indented below it"
    ],
    PG + f"    heartbeat: {{table: {'a' * 65}}}\n": [
        "c.yml:3:24: servers[0].heartbeat.table: must be at most 64 characters"
    ],
    PG + "    tls: on\n": [
        "c.yml:3:10: servers[0].tls: must be a mapping: lines of 'key: value', indented below it"
    ],
    PG + "    databases: {include: shop}\n": [
        "c.yml:3:26: servers[0].databases.include: must be a list, each item on a line that starts with '- '"
    ],
    PG + "    size_limit: 5 parsecs\n": [
        "c.yml:3:17: servers[0].size_limit: must be a size such as 500GiB, 1TB or a number of bytes"
    ],
    PG + "    size_limit: {shop: 0}\n": ["c.yml:3:24: servers[0].size_limit.shop: must be greater than 0"],
    PG + "    timeouts: {connect: soon}\n": [
        ("c.yml:3:25: servers[0].timeouts.connect: must be a duration such as 30s, 5m or 1h30m, "
        "or a number of seconds")
    ],
    PG + "    timeouts: {connect: 0}\n": ["c.yml:3:25: servers[0].timeouts.connect: must be greater than 0"],
    PG + "    timeouts: {scrape_offset: 10}\n": [
        "c.yml:3:15: servers[0].timeouts: has a scrape_offset that leaves nothing of scrape_default; lower it"
    ],
    PG + "    projects: [{pattern: '(', project: a}]\n": [
        ("c.yml:3:26: servers[0].projects[0].pattern: is not a regular expression: "
        "missing ), unterminated subpattern at character 0")
    ],
    PG + "    projects: [{pattern: a}]\n": ["c.yml:3:16: servers[0].projects[0].project: is missing or empty"],
    PG + "    labels: {server: a}\n": [
        ("c.yml:3:14: servers[0].labels.server: is a label that the exporter or Prometheus sets itself; "
        "choose another name")
    ],
    PG + "    labels: {__a: a}\n": [
        "c.yml:3:14: servers[0].labels.__a: starts with __, which Prometheus keeps for itself; choose another name"
    ],
    PG + "    labels: {a-b: a}\n": [
        "c.yml:3:14: servers[0].labels.a-b: is not a label name: use letters, digits and _, and no digit at the front"
    ],
    PG + "    labels: {tier: 1}\n": ["c.yml:3:20: servers[0].labels.tier: must be text; put it in quotes"],
    PG + "    application_name: " + "a" * 64 + "\n": [
        "c.yml:3:23: servers[0].application_name: must be at most 63 characters"
    ],
    PG + "web: {listen_addresses: ['9187']}\n": [
        'c.yml:3:25: web.listen_addresses: must be addresses such as ":9187", "127.0.0.1:9187" or "[::1]:9187"'
    ],
    PG + "web: {telemetry_path: /sd}\n": [
        "c.yml:3:23: web.telemetry_path: is a page of its own already; choose another path"
    ],
    # Thresholds.
    PG + "thresholds: {connection: {warning: 1}}\n": [
        ("c.yml:3:14: thresholds.connection: must be one of "
        "connections, slow_statements, size_growth, replication_lag; did you mean 'connections'?")
    ],
    PG + "thresholds: {connections: {warn: 1}}\n": [
        "c.yml:3:28: thresholds.connections.warn: must be one of warning, critical; did you mean 'warning'?"
    ],
    PG + "thresholds: {connections: {warning: 80}}\n": [
        "c.yml:3:27: thresholds.connections: is a share of the limit; write 0.8 or 80%"
    ],
    PG + "defaults: {thresholds: {replication_lag: {warning: 2m}}}\n": [
        "c.yml:3:42: defaults.thresholds.replication_lag: has a warning above its critical; swap them or change one"
    ],
    PG + "    thresholds: {replication_lag: {warning: soon}}\n": [
        ("c.yml:3:45: servers[0].thresholds.replication_lag.warning: "
        "must be a number, a share such as 80% or a duration such as 10s")
    ],
    # What does not go together.
    "servers:\n  - name: a\n": [("c.yml:2:5: servers[0]: says neither engine nor url; "
                                "add 'engine: postgres' or 'engine: mysql' (MariaDB too)")],
    "servers:\n  - engine: mysql\n": [
        "c.yml:2:5: servers[0]: says nowhere where the server is; add host, socket or url"
    ],
    "servers:\n  - {engine: mysql, host: a, socket: /b}\n": [
        "c.yml:2:38: servers[0].socket: stands beside host; remove one of them"
    ],
    "servers:\n  - {engine: postgres, socket: /run/.s.PGSQL.5432}\n": [
        ("c.yml:2:32: servers[0].socket: must be the directory that holds the socket; "
        "leave out /.s.PGSQL.… and set port")
    ],
    PG + "    engine: mysql\n": [
        "c.yml:3:13: servers[0].engine: contradicts url; remove engine or take it out of the url"
    ],
    PG + "    host: other\n": ["c.yml:3:11: servers[0].host: contradicts url; remove host or take it out of the url"],
    PG.replace("@db", "@db/postgres") + "    database: nosuch\n": [
        "c.yml:3:15: servers[0].database: contradicts url; remove database or take it out of the url"
    ],
    PG.replace("@db", "@db?sslmod=require"): [
        "c.yml:2:10: servers[0].url: has an unknown parameter; did you mean 'sslmode'?"
    ],
    PG + "    collectors: {statements: {every: 999ms, timeout: 9ms}}\n": [
        "c.yml:3:38: servers[0].collectors.statements.every: must be at least 1s",
        "c.yml:3:54: servers[0].collectors.statements.timeout: must be at least 10ms",
    ],
    PG + "    collectors: {statements: true, mysql_binlog: true}\n": [
        ("c.yml:3:36: servers[0].collectors.mysql_binlog: is a collector of MySQL or MariaDB, and this server is "
        "PostgreSQL; remove it")
    ],
    PG + "    thresholds: {slow_statements: {warning: 1s, critical: 5s}}\n": [
        ("c.yml:3:59: servers[0].thresholds.slow_statements.critical: can't be: "
        "statements are counted over one threshold; remove it, and set warning")
    ],
    PG + "    password: a\n    password_file: b\n": [
        "c.yml:4:20: servers[0].password_file: stands beside password; remove one of them"
    ],
    "servers:\n  - {engine: mysql, host: a, tls: {mode: prefer}}\n": [
        ("c.yml:2:42: servers[0].tls.mode: prefer would fall back to plain text unseen; "
        "use require or disable for MySQL")
    ],
    PG + "    tls: {mode: verify-ca}\n": [
        "c.yml:3:17: servers[0].tls.mode: verify-ca needs ca: the file of the authority to trust; or use verify-full"
    ],
    PG + "    tls: {mode: require, ca: system}\n": [
        "c.yml:3:30: servers[0].tls.ca: system asks for a check that this mode does not make; use verify-full"
    ],
    PG + "    tls: {cert: /dev/null}\n": ["c.yml:3:17: servers[0].tls.cert: needs key beside it"],
    PG + "    tls: {ca: /no/such}\n": [
        "c.yml:3:15: servers[0].tls.ca: there is no file /no/such; create it or correct the path"
    ],
    "servers:\n  - {name: a, url: postgresql://x}\n  - url: mysql://y\n  - {url: mysql://z, name: a}\n": [
        "c.yml:4:28: servers[2].name: servers[0] on line 2 has the same name, a; give each server its own"
    ],
    "servers:\n  - url: mysql://y\n  - url: mysql://y:3306/shop\n": [
        "c.yml:3:5: servers[1].name: servers[0] on line 2 has the same name, y:3306; give each server its own"
    ],
    # Tags.
    PG + "    password: !env UNSET\n": [
        "c.yml:3:15: servers[0].password: the environment variable UNSET is not set; set it for this process"
    ],
    PG + "    password: !file /no/such\n": [
        "c.yml:3:15: servers[0].password: there is no file /no/such; create it or correct the path"
    ],
    PG + "    password: !file /\n": ["c.yml:3:15: servers[0].password: / is a directory; name a file"],
    PG + "    password_file: /no/such\n": [
        "c.yml:3:20: servers[0].password_file: there is no file /no/such; create it or correct the path"
    ],
    PG + "defaults: {password_file: /no/such}\n": [
        "c.yml:3:27: defaults.password_file: there is no file /no/such; create it or correct the path"
    ],
    PG + "    cluster: !env\n": ["c.yml:3:14: servers[0].cluster: !env must be followed by the name of a variable"],
    PG + "    cluster: !evn SET\n": [
        ("c.yml:3:14: servers[0].cluster: an unknown tag: only !env and !file exist; "
        "put a value that starts with ! in quotes; did you mean !env?")
    ],
    PG + "    labels: !!python/dict {a: b}\n": [
        ("c.yml:3:13: servers[0].labels: an unknown tag: only !env and !file exist; "
        "put a value that starts with ! in quotes")
    ],
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG.items(), ids=range(len(WRONG)))
def test_every_mistake_has_its_place_and_its_fix(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_all_mistakes_are_said_at_once() -> None:
    text = (
        "servers:\n  - urll: postgresql://mon@db\n    port: x\n  - url: mysql://a:b#c@d\n    tls: {moed: require}\n"
        "defaults:\n  paused: 2\nweb:\n  telemetry_path: metrics\n"
    )
    assert [said.split(": ")[:2] for said in problems(text)] == [
        ["c.yml:2:5", "servers[0].urll"],
        ["c.yml:3:11", "servers[0].port"],
        ["c.yml:4:10", "servers[1].url"],
        ["c.yml:5:11", "servers[1].tls.moed"],
        ["c.yml:7:11", "defaults.paused"],
        ["c.yml:9:19", "web.telemetry_path"],
    ]


def test_a_mistake_hides_no_contradiction_elsewhere() -> None:
    text = (
        "servers:\n"
        "  - urll: postgresql://mon@db\n"
        "    thresholds: {connections: {warning: 180%}}\n"
        "    timeouts: {lock: soon}\n"
        "    password: a\n"
        "    password_file: b\n"
        "  - url: postgresql://mon@db\n"
        "    host: other\n"
        "    database: x\n"
        "    paused: maybe\n"
        "    tls: {cert: /dev/null}\n"
        "  - {engine: mysql, host: m, tls: {mode: prefer}}\n"
        "  - {engine: mysql, port: x}\n"
        "defaults:\n"
        "  thresholds: {replication_lag: {warning: 2m, critical: 1m}}\n"
        "  max_series: many\n"
        "thresholds:\n"
        "  connections: {warning: 95%, critical: 80%}\n"
        "  size_growth: {warning: soon}\n"
    )
    assert [":".join(said.split(": ")[:2]).removeprefix("c.yml:") for said in problems(text)] == [
        "2:5:servers[0].urll",
        "3:31:servers[0].thresholds.connections",
        "4:22:servers[0].timeouts.lock",
        "6:20:servers[0].password_file",
        "8:11:servers[1].host",
        "10:13:servers[1].paused",
        "11:17:servers[1].tls.cert",
        "12:42:servers[2].tls.mode",
        "13:5:servers[3]",
        "13:27:servers[3].port",
        "15:33:defaults.thresholds.replication_lag",
        "16:15:defaults.max_series",
        "18:16:thresholds.connections",
        "19:26:thresholds.size_growth.warning",
    ]


SECRET_IN_MISTAKE = [
    f"servers:\n  - url: postgresql://mon:{CANARY}#@db\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}%zz@db\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}/@db\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}?@db\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}\n",
    f"servers:\n  - url: postgresql://{CANARY}\n    port: x\n",
    f"servers:\n  - url: oracle://mon:{CANARY}@db\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}@a,b\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}@db?sslmode={CANARY}\n",
    f"servers:\n  - url: postgresql://mon:{CANARY}@db?{CANARY}\n",
    f"servers:\n  - url: [postgresql://mon:{CANARY}@db]\n",
    f"servers:\n  - url: {CANARY}\n",
    PG + f"    password: *{CANARY}\n",
    PG + f"    password: &{CANARY}\n    user: &{CANARY} 5\n",
    PG + f"    password: !{CANARY}\n",
    PG + f"    password: @{CANARY}\n",
    PG + f"    password: %{CANARY}\n",
    PG + f"    password: {{{CANARY}}}\n",
    PG + f"    password: [{CANARY}]\n",
    PG + f"    password: '{CANARY}\n",
    PG + f"    password: {CANARY}: x\n",
    PG + f"    password:{CANARY}\n",
    PG + f"    {{password:{CANARY}}}\n",
    "servers:\n  - {engine: mysql, host: x, password:" + CANARY + "}\n",
    PG + f"    pasword: {CANARY}\n",
    PG + f"    password: {CANARY}\n    password: {CANARY}\n",
    PG + f"    password: {CANARY}\n    port: x\n",
    PG + f"    password: {CANARY}\x07\n",
    PG + f"    tls: {{mode: {CANARY}}}\n    port: {CANARY}\n    size_limit: {CANARY}\n    paused: {CANARY}\n",
    f"{CANARY}\n",
]


@pytest.mark.parametrize("text", SECRET_IN_MISTAKE, ids=range(len(SECRET_IN_MISTAKE)))
def test_no_mistake_shows_a_value(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    shown = [str(caught.value), repr(caught.value), repr(caught.value.problems)]
    shown += traceback.format_exception(caught.value)
    assert caught.value.problems
    assert not [text for text in shown if CANARY in text]
    # Nothing that a debugger or an error tracker would follow leads back to the text either.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_good_config_shows_no_secret() -> None:
    quoted = CANARY.replace("!", "%21")
    config = load_text(
        f"servers:\n  - url: postgresql://mon:{quoted}@a\n  - {{url: 'mysql://mon@b', password: '{CANARY}'}}\n"
    )
    assert [server.password.reveal() for server in config.servers if server.password] == [CANARY, CANARY]
    shown = [repr(config), str(config), f"{config}", str(config.model_dump()), config.model_dump_json()]
    shown += [repr(config.servers[0].model_copy(deep=True))]
    assert not [text for text in shown if CANARY in text or quoted in text]


def test_defaults_are_merged_into_every_server() -> None:
    config = load_text(
        "servers:\n"
        "  - {url: postgresql://a, collectors: {statements: false}, timeouts: {lock: 1s}, cluster: }\n"
        "  - {url: 'mysql://me:own@b', thresholds: {connections: {critical: 99%}}}\n"
        "  - {url: mysql://c, password: mine, max_series: 7}\n"
        "defaults:\n"
        "  {user: mon, password: shared, cluster: main, max_series: 5, timeouts: {lock: 2s, statement: 2s},\n"
        "   collectors: {statements: {every: 5m}}, thresholds: {connections: {warning: 0.5}}}\n"
        "thresholds: {connections: {warning: 60%}, slow_statements: {warning: 500ms}}\n"
    )
    a, b, c = config.servers
    assert [s.user for s in config.servers] == ["mon", "me", "mon"]
    assert [s.password.reveal() for s in config.servers if s.password] == ["shared", "own", "mine"]
    assert (a.collectors["statements"].enabled, a.collectors["statements"].every) == (False, 300.0)
    assert (b.collectors["statements"].enabled, b.collectors["statements"].every) == (None, 300.0)
    assert (a.timeouts.lock, a.timeouts.statement, a.timeouts.connect) == (1.0, 2.0, 3.0)
    assert (b.timeouts.lock, c.max_series, b.max_series) == (2.0, 7, 5)
    assert (a.cluster, b.cluster) == (None, "main")
    assert a.thresholds["connections"] == {"warning": 0.5, "critical": 0.95}
    assert b.thresholds["connections"] == {"warning": 0.5, "critical": 0.99}
    assert a.thresholds["slow_statements"] == {"warning": 0.5}
    assert a.thresholds["replication_lag"] == {"warning": 10.0, "critical": 60.0}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("url: postgresql://a", ("a:5432", "postgres", "a", 5432, None, "postgres")),
        ("url: postgres://a:6000/shop", ("a:6000", "postgres", "a", 6000, None, "shop")),
        ("url: mariadb://a", ("a:3306", "mysql", "a", 3306, None, None)),
        ("url: postgresql://[::1]/", ("[::1]:5432", "postgres", "::1", 5432, None, "postgres")),
        ("{url: postgresql://a, port: 7000, name: n}", ("n", "postgres", "a", 7000, None, "postgres")),
        ("{engine: postgres, host: a, port: !env PORT}", ("a:6000", "postgres", "a", 6000, None, "postgres")),
        ("{engine: postgres, socket: /run}", ("/run:5432", "postgres", "localhost", 5432, "/run", "postgres")),
        ("{engine: mysql, socket: /run/m.sock}", ("/run/m.sock", "mysql", "localhost", 3306, "/run/m.sock", None)),
        ("url: postgresql://%2Frun/shop", ("/run:5432", "postgres", "localhost", 5432, "/run", "shop")),
        ("url: mysql:///shop?socket=/m", ("/m", "mysql", "localhost", 3306, "/m", "shop")),
    ],
)
def test_where_a_server_is(entry: str, expected: tuple[object, ...]) -> None:
    (got,) = one(entry).servers
    assert (got.name, got.engine, got.host, got.port, got.socket, got.database) == expected


@pytest.mark.parametrize(
    ("entry", "mode", "ca"),
    [
        ("url: postgresql://a", "prefer", None),
        ("url: postgresql://127.0.0.1", "prefer", None),
        ("url: postgresql://a?sslmode=require", "require", None),
        ("{url: postgresql://a, tls: {ca: /dev/null}}", "verify-full", "/dev/null"),
        ("{url: postgresql://a, tls: {mode: verify-full}}", "verify-full", "system"),
        ("url: postgresql://a?sslrootcert=/dev/null", "verify-ca", "/dev/null"),
        ("{url: 'postgresql://a?sslmode=require', tls: {mode: disable}}", "disable", None),
        ("url: mysql://a", "require", None),
        ("url: mysql://127.0.0.5", "disable", None),
        ("url: mysql://[::1]", "disable", None),
        ("url: mysql://LOCALHOST", "disable", None),
        ("url: mysql://localhost.example.com", "require", None),
        ("{engine: mysql, socket: /m}", "disable", None),
        ("url: mysql://a?ssl-mode=VERIFY_IDENTITY", "verify-full", None),
        ("{url: mysql://a, tls: {ca: system}}", "verify-full", None),
        ("{url: postgresql://a, tls: {ca: system}}", "verify-full", "system"),
        ("{url: mysql://127.0.0.1, tls: {mode: require}}", "require", None),
    ],
)
def test_encryption_without_being_told(entry: str, mode: str, ca: str | None) -> None:
    (got,) = one(entry).servers
    assert (got.tls.mode, got.tls.ca) == (mode, ca)


def test_databases_sizes_projects() -> None:
    (got,) = one(
        "{url: postgresql://a, databases: {include: ['shop*', x], exclude: ['*_old']}, size_limit: {shop: 1KiB},"
        " projects: [{pattern: 'shop\\.b.*', project: billing, owner: fin}, {pattern: shop, project: shop}]}"
    ).servers
    assert [name for name in ("shop", "shop_old", "x", "xy", "Shop") if got.databases.matches(name)] == ["shop", "x"]
    assert (got.size_limit_for("shop"), got.size_limit_for("x")) == (1024, None)
    found = [got.project_of("shop", "billing"), got.project_of("shop", "other"), got.project_of("other")]
    assert [project and project.project for project in found] == ["billing", "shop", None]
    (same,) = one("{url: postgresql://a, size_limit: 1MB}").servers
    assert same.size_limit_for("any") == 1_000_000
    assert same.databases.matches("any")


def test_values_keep_the_text_they_were_written_as() -> None:
    (got,) = one(
        "{url: postgresql://a, user: !env USER, password: 0123, labels: {since: 2024-01-01, v: '1.10'}}"
    ).servers
    assert got.user == "ann"
    assert got.password is not None
    assert got.password.reveal() == "0123"
    assert got.labels == {"since": "2024-01-01", "v": "1.10"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [("off", "none"), ("'off'", "none"), ("false", "none"), ("none", "none"), ("label", "label"), ("info", "info")],
)
def test_texts_of_statements_are_off_by_either_word(written: str, meant: str) -> None:
    assert load_text(f"{PG}    statements: {{text: {written}}}\n").servers[0].statements.text == meant


def test_anchors_and_merge_keys_work() -> None:
    config = load_text(
        "servers:\n  - &a {url: postgresql://a, user: x, paused: true}\n  - {<<: *a, url: postgresql://b, user: y}\n"
    )
    assert [(s.host, s.user, s.paused) for s in config.servers] == [("a", "x", True), ("b", "y", True)]


def test_many_aliases_do_not_fill_the_memory() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    said = problems("l0: &l0 [x]\n" + levels + PG)
    assert any("anchors (&, *) make this contain itself or grow too large" in line for line in said)


def test_parameters_that_mean_nothing_are_warned_about() -> None:
    config = one("url: postgresql://a?target_session_attrs=any&sslmode=disable")
    assert config.warnings == ("a:5432: the url's parameter target_session_attrs means nothing here",)


def test_defaults_speak_of_servers_of_every_engine() -> None:
    common = "defaults: {database: app, collectors: {mysql_binlog: false, statements: {limit: 3}}, pooler: none}\n"
    assert one("url: postgresql://a", common).warnings == ()
    assert one("url: mysql://a", common).warnings == ()


def test_keys_that_an_engine_does_without_are_warned_about() -> None:
    keys = "database: shop, databases: {include: [shop]}, pooler: transaction"
    assert one(f"{{url: postgresql://a, {keys}}}").warnings == ()
    assert [said.split(" means nothing here: ")[0] for said in one(f"{{url: mysql://a, {keys}}}").warnings] == [
        "a:3306: database",
        "a:3306: databases",
        "a:3306: pooler",
    ]
    assert len(one("url: mysql://a/shop").warnings) == 1


def test_the_check_prints_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    config = one("url: postgresql://a?target_session_attrs=any")
    assert serve.run(Namespace(config_check=True, given=take((), {})[1]), config) == 0
    assert capsys.readouterr().out.splitlines() == [
        "warning: a:5432: the url's parameter target_session_attrs means nothing here",
        "the config is sound and names 1 server",
    ]


@pytest.mark.parametrize("label", ["le", "quantile", "collector", "database", "state", "instance", "db_cluster"])
def test_labels_of_our_own_series_are_refused(label: str) -> None:
    (said,) = problems(PG + f"    labels: {{{label}: a}}\n")
    assert said.endswith(f"{label}: is a label that the exporter or Prometheus sets itself; choose another name")


def test_the_least_intervals_are_accepted() -> None:
    (got,) = one("{url: postgresql://a, collectors: {statements: {every: 1s, timeout: 10ms}}}").servers
    assert (got.collectors["statements"].every, got.collectors["statements"].timeout) == (1.0, 0.01)


def test_the_same_database_may_stand_in_the_url_and_beside_it() -> None:
    (got,) = one("{url: postgresql://a/shop, database: shop}", "defaults: {database: other}\n").servers
    assert got.database == "shop"


def test_paths_are_relative_to_the_file_and_passwords_rotate(tmp_path: Path) -> None:
    env = {"URL": "mysql://m:first@h"}
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "pw").write_text("one\n")
    file = tmp_path / "c.yml"
    file.write_text(
        "servers:\n  - {url: postgresql://a, password: !file pw, tls: {ca: ca.pem}}\n"
        "  - {url: postgresql://b, password_file: pw}\n  - {url: !env URL}\n"
    )
    file.chmod(0o644)
    config = load(file, env=env)
    passwords = [server.password for server in config.servers]
    assert [p.reveal() for p in passwords if p] == ["one", "one", "first"]
    assert config.servers[0].tls.ca == str(tmp_path / "ca.pem")
    assert config.warnings == ()
    (tmp_path / "pw").write_text("two\r\n")
    env["URL"] = "mysql://m:sec%2Fond@h"
    assert [p.reveal() for p in passwords if p] == ["two", "two", "sec/ond"]


def test_a_password_that_all_may_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text(PG + f"    password: {CANARY}\n")
    file.chmod(0o644)
    (warning,) = load(file).warnings
    assert warning == f"{file} holds a password and everybody on this machine may read it; run chmod o-r {file}"
    file.chmod(0o640)
    assert load(file).warnings == ()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yml"
    latin.write_bytes(f"password: {CANARY}\xe9".encode("latin-1"))
    cases = {
        tmp_path / "none.yml": f"there is no file {tmp_path / 'none.yml'}; create it or correct the path",
        tmp_path: f"{tmp_path} is a directory; name a file",
        latin: f"{latin} is not UTF-8 text; save it as UTF-8",
    }
    for path, expected in cases.items():
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {expected}"
        assert caught.value.__context__ is None


EXAMPLE = (Path(__file__).parents[2] / "config.example.yml").read_text()
LINES = [line for line in EXAMPLE.splitlines() if not line.lstrip().startswith("#")]
ODD_VALUES = [
    "", "~", "[]", "{}", "7", "-1", "1e400", ".inf", "99999999999999999999", "x", "true", "!env SET", "*a", "&a b",
    "2024-01-01", "{a: {b: c}}", "[[1]]", "'\\0'", '"\\0"', "!!binary aGk=", "%", "'%s %d {x}'", "<<",
]  # fmt: skip


@settings(deadline=None)
@given(
    line=st.integers(0, len(LINES) - 1), value=st.sampled_from(ODD_VALUES), text=st.text(max_size=8), cut=st.booleans()
)
def test_no_text_whatever_makes_it_crash(line: int, value: str, text: str, cut: bool) -> None:
    lines = list(LINES)
    key = lines[line].partition(":")[0]
    lines[line] = text if cut else f"{key}: {value}"
    try:
        load_text("\n".join(lines), env={"ORDERS_PASSWORD": "a", "USERS_PASSWORD": "b", "SET": "v"})
    except ConfigError as error:
        assert all(problem.line and problem.message for problem in error.problems)  # noqa: PT017


def test_a_heartbeat_table_is_read_where_one_is_named() -> None:
    def read(server: str, rest: str = "") -> tuple[str | None, bool | None]:
        config = one(server, rest).servers[0]
        said = config.collectors.get("mysql_heartbeat")
        return "".join(
            own.queries[0].sql.partition("FROM `")[2][:20] for own in config.own
        ) or None, said and said.enabled

    assert read("{url: mysql://a}") == (None, None)
    assert read("{url: mysql://a, heartbeat: true}") == ("heartbeat`.`heartbea", True)
    assert read("{url: mysql://a, heartbeat: false}", "defaults: {heartbeat: {table: beat}}") == (None, None)
    assert read("{url: mysql://a, heartbeat: {database: percona}}") == ("percona`.`heartbeat`", True)
    # Another key of the defaults stays, and so does what a server says of the collector.
    both = "{url: mysql://a, heartbeat: {database: percona}, collectors: {mysql_heartbeat: false}}"
    assert read(both, "defaults: {heartbeat: {table: beat}}") == ("percona`.`beat` ORDE", False)
    assert read("{url: postgresql://a}", "defaults: {heartbeat: true}") == (None, None)
    [said] = one("{url: postgresql://a, heartbeat: true}").warnings
    assert "heartbeat means nothing here" in said

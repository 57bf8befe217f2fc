"""What collectors of MySQL make of rows that a server takes a week, a plugin or a cluster to give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.collectors.mysql.all_variables import told as variables_told
from exporter.collectors.mysql.auto_increment import most
from exporter.collectors.mysql.innodb_all_metrics import told as metrics_told
from exporter.collectors.mysql.innodb_status import read
from exporter.collectors.mysql.lock_waits import counted
from exporter.collectors.mysql.needless_indexes import Findings
from exporter.collectors.mysql.processes import summed, word
from exporter.collectors.mysql.query_response_time import distribution
from exporter.collectors.mysql.status_kinds import kind_of
from exporter.declare import Rows
from exporter.exposition.render import render
from exporter.registry import collectors_by_name
from tests.unit.test_mysql_rows import context

_PARTS = ("part", "schema", "table", "index", "column", "length", "several", "type", "place", "direction", "visible")
_WEEK = 7 * 86400


def _index(
    name: str, *columns: str, unique: bool = False, kind: str = "BTREE", visible: bool = True
) -> list[dict[str, Any]]:
    return [
        {"part": "index", "schema": "s", "table": "t", "index": name, "column": column, "several": int(not unique),
         "type": kind, "place": place, "direction": "A", "visible": int(visible)}
        for place, column in enumerate(columns, 1)
    ]  # fmt: skip


def _unused(*names: str, uptime: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"part": "unused", "schema": "s", "table": "t", "index": name} for name in names]
    return [*rows, {"part": "uptime", "length": uptime}]


def _findings(*rows: dict[str, Any]) -> set[tuple[str, str]]:
    told = Findings().feed(Rows.of(_PARTS, rows), context()).dicts()
    return {(row["kind"], row["index"]) for row in told if row["index"] is not None}


def test_unused_indexes_are_told_after_a_week_and_unique_ones_and_foreign_keys_never() -> None:
    rows = [*_index("a", "x"), *_index("b", "y", unique=True), *_index("c", "z")]
    rows.append({"part": "reference", "schema": "s", "table": "t", "column": "z", "place": 1})
    assert _findings(*rows, *_unused("a", "b", "c", uptime=_WEEK)) == {("unused", "a")}
    told = Findings().feed(Rows.of(_PARTS, [*rows, *_unused("a", uptime=_WEEK - 1)]), context()).dicts()
    assert {row["kind"] for row in told} == {"duplicate", "redundant"}


def _looks(*looks: tuple[float, dict[str, str]]) -> list[set[str]]:
    """What is unused at each look: seconds, and how the one index of each table reads."""
    state, told = Findings(), []
    for now, reads in looks:
        rows = [{"part": "uptime", "length": 5 * _WEEK}]
        for table in ("t1", "t2", "t3", "idle"):
            name = {"schema": "s", "table": table, "index": "a"}
            rows += [{**row, **name} for row in _index("a", "x")]
            if table in reads:
                rows.append({"part": reads[table], **name})
        found = state.feed(Rows.of(_PARTS, rows), replace(context(), now=now)).dicts()
        told.append({row["table"] for row in found if row["index"] is not None})
    return told


def test_after_a_truncate_nothing_that_was_used_is_unused_however_much_is_used_again() -> None:
    before = {"t1": "used", "t2": "used", "t3": "used", "idle": "unused"}
    # Most are in use again by the next look.
    after = {**before, "t3": "unused"}
    looks = _looks((0, before), (900, after), (_WEEK, after), (_WEEK + 899, after), (_WEEK + 900, after))
    assert looks == [{"idle"}, {"idle"}, {"idle"}, {"idle"}, {"idle", "t3"}]
    # None of them is.
    assert _looks((0, before), (900, dict.fromkeys(before, "unused"))) == [{"idle"}, {"idle"}]


def test_an_index_that_was_used_before_its_table_was_opened_anew_is_not_unused() -> None:
    used, unused = {"t1": "used", "idle": "unused"}, {"t1": "unused", "idle": "unused"}
    assert _looks((0, used), (900, {"idle": "unused"}), (1800, unused)) == [{"idle"}] * 3


def test_many_tables_leave_room_for_the_sums_of_their_schemas() -> None:
    collector = collectors_by_name()["mysql_table_statistics"]
    rows = Rows(
        ("schema", "table", "rows_read", "rows_changed", "rows_changed_x_indexes"),
        [("s", f"t{number}", 2, 1, 1) for number in range(50)],
    )
    families = render(collector, rows, context(), budget=60).families
    [sums] = [part for part in families if part.name == "mysql_info_schema_schema_statistics_rows_read_total"]
    assert sums.text.endswith('schema="s"} 100\n')


def test_indexes_are_read_from_either_end_and_what_is_whole_holds_its_beginning() -> None:
    def of(name: str, *columns: tuple[str, int | None, str]) -> list[dict[str, Any]]:
        rows = _index(name, *(column for column, _, _ in columns))
        return [{**row, "length": size, "direction": way} for row, (_, size, way) in zip(rows, columns, strict=True)]

    x, y, x_down, y_down, x_10 = ("x", None, "A"), ("y", None, "A"), ("x", None, "D"), ("y", None, "D"), ("x", 10, "A")
    assert _findings(*of("a", x), *of("b", x_down)) == {("duplicate", "b")}
    assert _findings(*of("a", x, y_down), *of("b", x_down, y)) == {("duplicate", "b")}
    assert _findings(*of("a", x, y), *of("b", x, y_down)) == set()
    assert _findings(*of("a", x_down), *of("b", x, y)) == {("redundant", "a")}
    assert _findings(*of("a", x_10), *of("b", x)) == {("redundant", "a")}
    assert _findings(*of("a", x_10, y), *of("b", x, y)) == {("redundant", "a")}
    assert _findings(*of("a", x_10), *of("b", ("x", 9, "A"), y)) == set()


def test_of_equal_indexes_the_unique_one_stays() -> None:
    assert _findings(*_index("a", "x"), *_index("z", "x", unique=True)) == {("duplicate", "a")}
    assert _findings(*_index("a", "x"), *_index("b", "x")) == {("duplicate", "b")}
    assert _findings(*_index("a", "x"), *_index("b", "x", kind="FULLTEXT")) == set()


def test_an_index_that_statements_do_not_see_replaces_none_that_they_do() -> None:
    assert _findings(*_index("a", "x"), *_index("b", "x", "y", visible=False)) == set()
    assert _findings(*_index("a", "x", visible=False), *_index("b", "x")) == {("duplicate", "a")}
    assert _findings(*_index("a", "x"), *_index("b", "x", unique=True, visible=False)) == set()
    assert _findings(*_index("a", "x", visible=False), *_index("b", "x", "y", visible=False)) == {("redundant", "a")}


def test_the_beginning_of_another_is_redundant() -> None:
    assert _findings(*_index("a", "x"), *_index("b", "x", "y")) == {("redundant", "a")}
    assert _findings(*_index("a", "y"), *_index("b", "x", "y")) == set()
    assert _findings(*_index("a", "x", unique=True), *_index("b", "x", "y")) == set()


def test_sizes_of_partitions_add_up() -> None:
    pages = [{"part": "pages", "schema": "s", "table": f"t#P#p{part}", "index": "b", "length": 2} for part in range(3)]
    # The pages of one of them are smaller.
    pages.append({"part": "compressed", "schema": "s", "table": "t#p#p1", "length": 4096})
    known = replace(context().facts, settings={"innodb_page_size": "16384"})
    told = (
        Findings()
        .feed(Rows.of(_PARTS, [*_index("a", "x"), *_index("b", "x"), *pages]), replace(context(), facts=known))
        .dicts()
    )
    assert {row["kind"]: row["all_bytes"] for row in told if row["index"] is None} == {
        "duplicate": 2 * (2 * 16384 + 4096),
        "redundant": 0,
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [("tinyint(4)", 127), ("smallint unsigned", 65535), ("int", 2147483647), ("bigint(20) unsigned", 2**64 - 1),
     ("mediumint", 8388607), ("double", None)],
)  # fmt: skip
def test_the_most_that_a_column_holds(column: str, value: int | None) -> None:
    assert most(column) == value


def test_appliers_and_the_event_scheduler_are_no_sessions_of_a_database() -> None:
    columns = ("user", "client", "command", "state", "db", "processes", "seconds")
    rows = [
        ("shop", "10.0.0.1", "Sleep", "", "till", 2, 5),
        ("shop", "10.0.0.1", "Sleep", "", "", 1, 5),
        ("system user", "", "Query", "Applying batch of row changes (write)", "till", 4, 0),
        ("system user", "", "Connect", "Waiting for source to send event", "", 1, 9),
        ("event_scheduler", "localhost", "Daemon", "Waiting on empty queue", "", 1, 9),
    ]
    told = summed(Rows(columns, rows), context()).dicts()
    assert {row["database"]: row["by_database"] for row in told if row["by_database"]} == {"till": 2, "": 1}
    assert {row["user"]: row["by_user"] for row in told if row["by_user"]} == {
        "shop": 3, "system user": 5, "event_scheduler": 1,
    }  # fmt: skip
    assert sum(row["threads"] or 0 for row in told) == 9


def test_states_as_labels() -> None:
    assert word("Waiting for table metadata lock") == "waiting_for_table_metadata_lock"
    assert word("Source has sent all binlog to replica; waiting for more updates") == (
        "source_has_sent_all_binlog_to_replica_waiting_for_more_updates"
    )
    assert word("") == "unknown"


def test_a_cluster_in_the_settings() -> None:
    options = "base_dir = /var/lib/mysql/; gcache.page_size = 128M; gcache.size = 2G; gcs.fc_debug = 0;"
    rows = Rows(
        ("n", "v"),
        [("wsrep_provider_options", options), ("wsrep_cluster_name", "shop"), ("tx_isolation", "REPEATABLE-READ")],
    )
    [first] = variables_told(rows, context()).dicts()
    assert (first["gcache"], first["wsrep_cluster_name"], first["level"]) == (2**31, "shop", "REPEATABLE-READ")


def test_families_among_the_counters_of_innodb() -> None:
    columns = ("name", "subsystem", "type", "count")
    rows = [
        ("buffer_page_read_index_leaf", "buffer_page_io", "counter", 1),
        ("buffer_pool_pages_total", "buffer", "value", 9),
        ("buffer_pool_pages_dirty", "buffer", "value", 2),
        ("buffer_pool_pages_free", "buffer", "value", 3),
        ("log_waits", "log", "status_counter", 4),
        ("trx_rseg_history_len", "transaction", "value", 5),
    ]
    told = [
        {key: value for key, value in row.items() if value is not None}
        for row in metrics_told(Rows(columns, rows), context()).dicts()
    ]
    assert told == [
        {"read": "index_leaf", "pages_read": 1},
        {"dirty": 2},
        {"state": "free", "pages": 3},
        {"counter": "log_log_waits_total", "value": 4},
        {"gauge": "transaction_trx_rseg_history_len", "value": 5},
    ]


INNODB = """\
----------
SEMAPHORES
----------
OS WAIT ARRAY INFO: reservation count 51
--Thread 139953876817664 has waited at btr0cur.cc line 545 for 41  seconds the semaphore:
S-lock on RW-latch at 0x7f4994008b38 created in file dict0dict.cc line 2687
--Thread 139953876551424 has waited at trx0trx.cc line 1330 for 7.00 seconds the semaphore:
Mutex at 0x7f49a40067c8, Mutex TRX_SYS created trx0sys.cc:589, lock var 1
------------------------
LATEST DETECTED DEADLOCK
------------------------
UPDATE t SET a = '
--Thread 1 has waited at a.cc line 1 for 99 seconds the semaphore:
Hash table size 100, node heap has 100 buffer(s)
7 queries inside InnoDB, 7 queries in queue
Dictionary memory allocated 7
' WHERE b = 1
------------
TRANSACTIONS
------------
--------
FILE I/O
--------
-------------------------------------
INSERT BUFFER AND ADAPTIVE HASH INDEX
-------------------------------------
Ibuf: size 1, free list len 44, seg size 46, 0 merges
Hash table size 8747, node heap has 3 buffer(s)
Hash table size 8747, node heap has 2 buffer(s)
----------------------
BUFFER POOL AND MEMORY
----------------------
Total large memory allocated 137363456
Dictionary memory allocated 801579
--------------
ROW OPERATIONS
--------------
2 queries inside InnoDB, 3 queries in queue
1 read views open inside InnoDB
"""


def test_the_text_of_innodb() -> None:
    def told(text: str) -> dict[str, object]:
        [row] = read(Rows(("type", "name", "status"), [("InnoDB", "", text)]), context()).dicts()
        return row

    everything = {
        "inside": 2, "queued": 3, "views": 1, "waits": 2, "longest": 41, "cells": 17494, "heap": 5, "free": 44,
        "segment": 46, "memory": 137363456, "dictionary": 801579,
    }  # fmt: skip
    nothing = dict.fromkeys(("written", "kept", "age"))
    assert told(INNODB) == everything | nothing
    at_rest = "\n".join(line for line in INNODB.splitlines() if not line.startswith("--Thread"))
    assert told(at_rest) == everything | nothing | {"waits": 0, "longest": 0}
    assert told("") == dict.fromkeys([*everything, *nothing])


def test_the_checkpoint_in_the_text_of_innodb() -> None:
    log = (
        "---\nLOG\n---\nLog sequence number          19640129\nLog buffer assigned up to    19640129\n"
        "Log flushed up to            19640129\nPages flushed up to          19640000\n"
    )
    for text, age in ((log + "Last checkpoint at           19630029\n2 log i/o's done\n", 10100), (log, None)):
        [row] = read(Rows(("type", "name", "status"), [("InnoDB", "", text)]), context()).dicts()
        assert row["age"] == age


def test_of_the_statements_of_many_who_hold_up_others_the_foremost_are_told_apart() -> None:
    columns = ("kind", "waiter", "holder", "holder_sleeps", "age", "schema", "digest")
    ran = ["often"] * 3 + [f"once {number:02}" for number in range(12)]
    rows = [("metadata", None, 100 + number, 0, None, "shop", digest) for number, digest in enumerate(ran)]
    # One of them waits itself.
    rows.append(("row", 100 + ran.index("once 00"), None, None, 1.0, None, None))
    told = {
        (row["kind"], row["schema"], row["digest"]): row["sessions"]
        for row in counted(Rows(columns, rows), context()).dicts()
        if row["sessions"]
    }
    assert told == {
        ("metadata", "shop", "often"): 3,
        **{("metadata", "shop", f"once {number:02}"): 1 for number in range(1, 10)},
        ("metadata", "(others)", "(others)"): 2,
    }


def test_the_histogram_of_the_plugin() -> None:
    rows = [("      0.000001", 0, "  0.000000"), ("      0.100000", 7, "  0.250000"), ("TOO LONG", 1, "TOO LONG")]
    of_all = [("durations", *row) for row in rows]
    [(told,)] = distribution(Rows(("kind", "time", "count", "total"), of_all), context("mariadb")).rows
    assert told == ([(0.000001, 0), (0.1, 7)], 0.25, 8)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("innodb_row_lock_time", "counter"), ("innodb_row_lock_time_avg", "gauge"), ("uptime", "counter"),
     ("wsrep_local_recv_queue", "gauge"), ("ssl_server_not_after", "gauge"), ("something_new", "untyped"),
     ("component_connection_control_exempted_unknown_users", "counter"), ("server_audit_active", "gauge"),
     ("connection_control_delay_generated", "counter"), ("server_audit_writes_failed", "counter"),
     ("rewriter_number_rewritten_queries", "counter"), ("rewriter_number_loaded_rules", "gauge"),
     ("mysqlx_init_error", "counter"), ("mysqlx_notified_by_group_replication", "counter"),
     ("gr_control_messages_sent_count", "counter"), ("gr_control_messages_sent_roundtrip_time_sum", "counter"),
     ("gr_flow_control_throttle_active_count", "gauge"), ("gr_last_consensus_end_timestamp", "untyped")],
)  # fmt: skip
def test_kinds_of_status_variables(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_texts_are_no_numbers() -> None:
    numbers = {"hostname": "123456789012", "report_password": "4711", "system_time_zone": "-03", "wsrep_node_name": "1"}
    rows = Rows(("n", "v"), [*numbers.items(), ("read_buffer_size", "131072"), ("init_connect", "1e999")])
    told = variables_told(rows, context()).dicts()
    assert {row["variable"]: row["value"] for row in told[1:]} == {"read_buffer_size": 131072}

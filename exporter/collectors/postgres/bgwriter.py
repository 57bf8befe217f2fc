"""Checkpoints and who writes buffers, under one set of names across the releases that moved them."""

from exporter.declare import Collector, Measure, Query, block, counter
from exporter.gates import ANY, Gate, pg

_OLD = {
    "checkpoints_timed": "Checkpoints that were due.",
    "checkpoints_req": "Checkpoints that were asked for.",
    "checkpoint_write_time": "Milliseconds in which checkpoints wrote files.",
    "checkpoint_sync_time": "Milliseconds in which checkpoints synchronized files.",
    "buffers_checkpoint": "Buffers written by checkpoints.",
    "buffers_backend": "Buffers written by backends themselves.",
    "buffers_backend_fsync": "Times that a backend had to synchronize a file itself.",
}
_ALWAYS = {
    "buffers_clean": "Buffers written by the background writer.",
    "maxwritten_clean": "Times that the background writer stopped because it had written too many buffers.",
    "buffers_alloc": "Buffers allocated.",
}
_CHECKPOINTER = {
    "num_timed": "Checkpoints that were due, those that were skipped because nothing had happened among them.",
    "num_requested": "Checkpoints that were asked for.",
    "restartpoints_timed": "Restartpoints that were due.",
    "restartpoints_req": "Restartpoints that were asked for.",
    "restartpoints_done": "Restartpoints performed.",
    "write_time": "Milliseconds in which checkpoints and restartpoints wrote files.",
    "sync_time": "Milliseconds in which checkpoints and restartpoints synchronized files.",
    "buffers_written": "Buffers written by checkpoints and restartpoints.",
}

_CHECKPOINTS = """checkpoints_timed AS timed, checkpoints_req AS requested,
           checkpoint_write_time / 1000 AS write_seconds, checkpoint_sync_time / 1000 AS sync_seconds,
           buffers_checkpoint AS checkpoint_buffers"""


# What backends write themselves; to make a relation longer always counted as a write. The older counter is told no
# sooner than the checkpointer wakes up, and from 16 on it takes many new blocks for one.
def _io(buffers: str) -> str:
    return f"""(
        SELECT sum({buffers})::int8 AS backend_buffers, sum(fsyncs)::int8 AS backend_fsyncs
        FROM pg_stat_io CROSS JOIN (SELECT current_setting('block_size')::int8 AS block_size) blocks
        WHERE object = 'relation' AND backend_type NOT IN ('checkpointer', 'background writer')
    ) io"""


def _since_17(buffers: str) -> str:
    return f"""
    SELECT c.*, b.buffers_clean, b.maxwritten_clean, b.buffers_alloc,
           extract(epoch FROM b.stats_reset)::float8 AS reset,
           extract(epoch FROM c.stats_reset)::float8 AS checkpointer_reset,
           -- One until then.
           num_timed + restartpoints_timed AS timed, num_requested + restartpoints_req AS requested,
           write_time / 1000 AS write_seconds,
           sync_time / 1000 AS sync_seconds, buffers_written AS checkpoint_buffers, backend_buffers, backend_fsyncs
    FROM pg_stat_checkpointer c CROSS JOIN pg_stat_bgwriter b CROSS JOIN {_io(buffers)}"""


_SINCE_16 = f"""
    SELECT b.*, extract(epoch FROM stats_reset)::float8 AS reset, {_CHECKPOINTS}, io.*
    FROM pg_stat_bgwriter b CROSS JOIN {_io("coalesce(writes, 0) + coalesce(extends, 0)")}"""
_SINCE_13 = f"""
    SELECT b.*, extract(epoch FROM stats_reset)::float8 AS reset, {_CHECKPOINTS},
           buffers_backend AS backend_buffers, buffers_backend_fsync AS backend_fsyncs
    FROM pg_stat_bgwriter b"""


def _ours(name: str, column: str, sentence: str, when: Gate = ANY) -> Measure:
    return counter(name, column, help=sentence, when=when)


def _native(prefix: str, sentences: dict[str, str], when: Gate) -> list[Measure]:
    return [
        counter(f"{prefix}_{column}_total", column, help=sentence, when=when, drop_in=True)
        for column, sentence in sentences.items()
    ]


def _reset(prefix: str, column: str, when: Gate) -> Measure:
    text = "When these statistics were last reset, in Unix seconds."
    return counter(f"{prefix}_stats_reset_total", column, help=text, when=when, drop_in=True)


bgwriter = Collector(
    name="pg_stat_bgwriter",
    about="Checkpoints, the background writer, and buffers that backends had to write themselves.",
    engine="postgres",
    queries=(
        Query(pg(18), _since_17("(coalesce(write_bytes, 0) + coalesce(extend_bytes, 0)) / block_size")),
        Query(pg(17), _since_17("coalesce(writes, 0) + coalesce(extends, 0)")),
        Query(pg(16, below=17), _SINCE_16),
        Query(pg(13, below=16), _SINCE_13),
    ),
    blocks=(
        block(
            *_native("pg_stat_bgwriter", _OLD, pg(13, below=17)),
            *_native("pg_stat_bgwriter", _ALWAYS, pg()),
            _reset("pg_stat_bgwriter", "reset", pg()),
            *_native("pg_stat_checkpointer", _CHECKPOINTER, pg(17)),
            _reset("pg_stat_checkpointer", "checkpointer_reset", pg(17)),
        ),
        block(
            _ours(
                "pg_checkpoints_timed_total",
                "timed",
                "Checkpoints, on a standby restartpoints, that were due; from 17 on also those skipped.",
            ),
            _ours(
                "pg_checkpoints_requested_total",
                "requested",
                "Checkpoints, on a standby restartpoints, that were asked for.",
            ),
            _ours("pg_checkpoints_done_total", "num_done", "Checkpoints performed.", pg(18)),
            _ours("pg_checkpoint_write_seconds_total", "write_seconds", "Time in which checkpoints wrote files."),
            _ours("pg_checkpoint_sync_seconds_total", "sync_seconds", "Time in which checkpoints synchronized files."),
            _ours("pg_checkpoint_buffers_written_total", "checkpoint_buffers", "Buffers written by checkpoints."),
            _ours("pg_checkpoint_slru_written_total", "slru_written", "SLRU buffers written by checkpoints.", pg(18)),
            _ours(
                "pg_backend_buffers_written_total",
                "backend_buffers",
                "Buffers written by all others than those, to make a file longer among them.",
            ),
            _ours("pg_backend_fsyncs_total", "backend_fsyncs", "Files that those had to synchronize themselves."),
        ),
    ),
)

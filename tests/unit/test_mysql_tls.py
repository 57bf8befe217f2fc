"""TLS contexts of MySQL's servers: made once, and by each server for itself."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from exporter.config.model import TLS
from exporter.engines.mysql.tls import context
from exporter.failure import Failure, Reason
from tests.providers.tls import make_certificate


def test_files_that_are_away_hold_up_no_other_server(tmp_path: Path) -> None:
    # To open it takes until somebody writes, as long as a file system is away.
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    failures: list[Failure] = []

    def held_up() -> None:
        try:
            context(TLS(mode="verify-ca", ca=str(pipe)))
        except Failure as failure:
            failures.append(failure)

    waiting = threading.Thread(target=held_up)
    other = threading.Thread(target=context, args=(TLS(mode="require"),))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    other.start()
    other.join(5)
    held = other.is_alive()
    pipe.write_text("no certificate")
    waiting.join(5)
    other.join(5)
    assert not held
    assert [failure.reason for failure in failures] == [Reason.TLS]


def test_a_context_serves_all_servers_until_a_file_is_renewed(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    settings = TLS(mode="verify-ca", ca=str(files.authority))
    first = context(settings)
    assert context(TLS(mode="verify-ca", ca=str(files.authority))) is first
    os.utime(files.authority, (1, 1))
    renewed = context(settings)
    assert renewed is not first
    assert context(settings) is renewed

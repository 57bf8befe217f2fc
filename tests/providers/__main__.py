"""Start servers from a shell: ``python -m tests.providers start postgres-18 mysql-9.7 [--standby]``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import Any

from tests.providers.base import DatabaseServer, ProviderError
from tests.providers.choice import choose
from tests.providers.processes import Workspace


def main() -> int:
    """Start the servers named, print where they are, and stay until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.providers", description=main.__doc__)
    parser.add_argument("command", choices=["start", "names"])
    parser.add_argument("servers", nargs="*", help="for example postgres-18 mysql-9.7 mariadb-11.8")
    parser.add_argument("--provider", choices=["auto", "local", "containers"], default="auto")
    parser.add_argument("--standby", action="store_true", help="give each server a replica")
    parser.add_argument("--tls", action="store_true", help="PostgreSQL built with TLS")
    options = parser.parse_args()
    finish = threading.Event()

    def end(*_: Any) -> None:
        finish.set()

    workspace = Workspace()
    provider = choose(options.provider, workspace)
    if options.command == "names":
        print("\n".join(provider.names()))
        return 0
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        for name in options.servers:
            server = provider.create(name, tls=options.tls)
            _tell(server, "primary")
            if options.standby:
                _tell(server.replica(), "replica")
        print("ready; Ctrl-C stops and deletes them", flush=True)
        finish.wait()
    except ProviderError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        provider.close()
        workspace.close()
    return 0


def _tell(server: DatabaseServer, role: str) -> None:
    version = ".".join(str(part) for part in server.version)
    account = (server.primary and server.primary.known_account) or server.account()
    print(f"{server.name} {role} version={version} host={server.host} port={server.port}")
    print(f"  admin    {server.url()}")
    print(f"  exporter {server.url(account)}")
    print(f"  socket={server.socket} data={server.data} log={server.log}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

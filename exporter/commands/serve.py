"""`serve`: watch the servers of the config and serve their metrics over HTTP."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from exporter import memory
from exporter.config import Config
from exporter.engines.known import ENGINES
from exporter.exposition.process import Process
from exporter.polling.sampling import Sampling
from exporter.polling.scrape import Scrapes
from exporter.polling.slow import SlowTier
from exporter.web.app import Web
from exporter.web.protection import Protection
from exporter.web.server import ListenError, inherited, listen, serve, url

log = logging.getLogger(__name__)

CLOSING_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing beyond the flags that exporter.cli gives it."""


def run(args: argparse.Namespace, config: Config) -> int:
    """Serve until a signal; with --config.check print warnings, say that the config is sound and return.

    Returns:
        0, or 1 if an address can't be listened on.

    Raises:
        ConfigError: Of the web config.
    """
    path = args.given.values.get("web.config.file")
    protection = Protection(Path(path)) if path else None
    config = config.model_copy(update={"warnings": (*config.warnings, *(protection.unused() if protection else ()))})
    if args.config_check:
        for warning in config.warnings:
            print(f"warning: {warning}")
        print(f"the config is sound and names {len(config.servers)} server{'s' * (len(config.servers) != 1)}")
        return 0
    for warning in config.warnings:
        log.warning(warning)
    try:
        sockets = inherited() if args.given.on("web.systemd-socket") else listen(config.web.listen_addresses)
    except ListenError as error:
        log.error("%s", error)
        return 1
    memory.settle()
    scrapes = Scrapes(config.servers, ENGINES, args.collectors)
    slow = SlowTier(scrapes.servers.values())
    sampling = Sampling(watched.sampler for watched in scrapes.servers.values() if watched.sampler is not None)
    web = Web(config, scrapes, Process(), protection)
    tls = protection.tls if protection else None
    slow.start()
    sampling.start()
    for bound in sockets:
        log.info("listening on %s%s", url(bound, tls=tls is not None), config.web.telemetry_path)
    serve(web, sockets, tls)
    log.info("ending")
    slow.stop()
    sampling.stop()
    web.close()
    scrapes.close(CLOSING_SECONDS)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that waits for a silent database would otherwise keep the process from ending.
    os._exit(0)

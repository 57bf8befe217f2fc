"""Log lines on stderr, as logfmt or JSON, with known passwords taken out."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, TextIO
from urllib.parse import quote

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["logfmt", "json"]

LEVELS: tuple[Level, ...] = ("debug", "info", "warn", "error")
FORMATS: tuple[Format, ...] = ("logfmt", "json")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_NAMES = {logging.WARNING: "warn", logging.CRITICAL: "error"}
# Replacing shorter ones would riddle every line with holes and thereby tell what they are.
_SHORTEST_SECRET = 4
_PLAIN = re.compile(r"[^\s\"=\\]+\Z")

_secrets: tuple[str, ...] = ()


def configure(level: Level = "info", form: Format = "logfmt", stream: TextIO | None = None) -> None:
    """Send all log lines from `level` on to `stream` (None: stderr); may be called again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JSON() if form == "json" else _Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # What the web server says of its own life is ours to say; of clients that talk nonsense nobody needs a line.
    own = logging.INFO if level == "debug" else logging.ERROR
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(own)
    logging.getLogger("asyncio").setLevel(logging.INFO if level == "debug" else logging.WARNING)
    logging.captureWarnings(capture=True)


def redact(secrets: Iterable[str]) -> None:
    """From now on take these values, also percent-encoded, out of every line: the last belt, never the first."""
    global _secrets  # noqa: PLW0603 - one log per process
    known = {form for secret in secrets for form in (secret, quote(secret, safe="")) if len(secret) >= _SHORTEST_SECRET}
    # The longest first, so that one that contains another leaves nothing behind.
    _secrets = tuple(sorted(known, key=len, reverse=True))


def _clean(text: str) -> str:
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, "***")
    return text


class _Fields(logging.Formatter):
    """What a line says: ts (UTC), level, logger, msg, and err with the traceback if there is one."""

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """The fields of a line in order, free of known secrets."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "ts": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "logger": record.name.removeprefix("exporter."),
            "msg": _clean(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0]:
            fields["err"] = _clean(self.formatException(record.exc_info))
        return fields


class _Logfmt(_Fields):
    def format(self, record: logging.LogRecord) -> str:
        """The line; JSON's escapes keep it one line whatever is in it."""
        return " ".join(
            f"{key}={text if _PLAIN.match(text) and text.isprintable() else json.dumps(text, ensure_ascii=False)}"
            for key, text in self.fields(record).items()
        )


class _JSON(_Fields):
    def format(self, record: logging.LogRecord) -> str:
        """The line; ASCII only, so that any collector reads it."""
        return json.dumps(self.fields(record))

"""Log lines: one line each whatever is in them, and no password."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from exporter.log import Format, Level, configure, redact

CANARY = 'c4nary/"8k\\2'


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    redact([])


def lines(form: Format, level: Level = "info") -> io.StringIO:
    stream = io.StringIO()
    configure(level, form, stream)
    return stream


def test_logfmt_is_one_line_with_everything_quoted_that_needs_it() -> None:
    stream = lines("logfmt")
    logging.getLogger("exporter.polling.server").info("up: %s", 'a "b"\n=c\x1b[31m')
    [line] = stream.getvalue().splitlines()
    found = re.fullmatch(r"ts=(\S+) level=info logger=polling\.server msg=(\".*\")", line)
    assert found is not None, line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[1])
    assert json.loads(found[2]) == 'up: a "b"\n=c\x1b[31m'
    assert "\x1b" not in line


def test_json_says_the_same() -> None:
    stream = lines("json")
    try:
        raise ValueError("no\nway")
    except ValueError:
        logging.getLogger("elsewhere").exception("it was: %s", "é")
    [line] = stream.getvalue().splitlines()
    said = json.loads(line)
    assert (said["level"], said["logger"], said["msg"]) == ("error", "elsewhere", "it was: é")
    assert said["err"].endswith("ValueError: no\nway")
    assert set(said) == {"ts", "level", "logger", "msg", "err"}


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warn", "error", "error"]),
        ("info", ["info", "warn", "error", "error"]),
        ("warn", ["warn", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_levels(level: Level, said: list[str]) -> None:
    stream = lines("json", level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logging.getLogger("x").log(number, "m")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == said


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_known_passwords_are_taken_out_wherever_they_are(form: Format) -> None:
    stream = lines(form)
    redact([CANARY, "", "abc"])
    log = logging.getLogger("x")
    log.info("password %s and abc", CANARY)
    log.info("postgresql://u:c4nary%2F%228k%5C2@h/d")
    try:
        raise RuntimeError(f"in a traceback: {CANARY}")
    except RuntimeError:
        log.exception("oh")
    text = stream.getvalue()
    assert "c4nary" not in text
    assert text.count("***") >= 3
    # Three letters would be found in half of all words.
    assert "and abc" in text


def test_the_web_server_is_quiet() -> None:
    stream = lines("logfmt")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.access").info("GET /")
    assert stream.getvalue() == ""
    logging.getLogger("uvicorn.error").error("something broke")
    assert "something broke" in stream.getvalue()

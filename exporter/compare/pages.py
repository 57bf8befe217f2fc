"""Metric pages as series: fetched over HTTP, and read from the text format."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import re
import ssl
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

Labels = frozenset[tuple[str, str]]

TIMEOUT_SECONDS = 60.0
_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*\Z")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_SUFFIXES = ("_bucket", "_sum", "_count")
_ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"


class PageError(Exception):
    """A page can't be had; its text says why, and what to do."""


@dataclass(frozen=True)
class Page:
    """What one scrape showed.

    Attributes:
        kinds: The type of each family that has one.
        metrics: The value of each series by metric and labels; a label without a value is no label.
        written: The names of each metric's labels as they stand on the page, also of those without a value.
    """

    kinds: Mapping[str, str]
    metrics: Mapping[str, Mapping[Labels, float]]
    written: Mapping[str, set[str]] = field(default_factory=dict, compare=False)

    def kind(self, metric: str) -> str:
        """The type of a sample's family; untyped if the page does not say."""
        family = next((metric.removesuffix(suffix) for suffix in _SUFFIXES if metric.endswith(suffix)), metric)
        return self.kinds.get(metric) or self.kinds.get(family) or "untyped"

    def labels(self, metric: str) -> set[str]:
        """The names of a metric's labels."""
        return {name for labels in self.metrics.get(metric, ()) for name, _ in labels}

    def values(self, label: str) -> set[str]:
        """Every value of a label."""
        return {value for found in self.metrics.values() for labels in found for name, value in labels if name == label}

    def value(self, metric: str) -> float | None:
        """The value of a metric's first series."""
        return next(iter(self.metrics.get(metric, {}).values()), None)

    def only(self, label: str, value: str) -> Page:
        """The series that have this value of the label, and those that don't have the label."""
        kept = {
            metric: {labels: number for labels, number in found.items() if dict(labels).get(label, value) == value}
            for metric, found in self.metrics.items()
        }
        return Page(self.kinds, {metric: found for metric, found in kept.items() if found}, self.written)


def parse(text: str) -> Page:
    """Read a page in the text format.

    Raises:
        ValueError: It is something else.
    """
    kinds: dict[str, str] = {}
    metrics: dict[str, dict[Labels, float]] = {}
    written: dict[str, set[str]] = {}
    # Names may hold what Python takes for the end of a line besides.
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("# TYPE "):
            family, _, kind = line[len("# TYPE ") :].partition(" ")
            # Prometheus knows no difference between these two.
            kinds[family] = kind.strip().replace("unknown", "untyped")
        elif line and not line.startswith("#"):
            found = _LINE.match(line)
            if found is None:
                raise ValueError(f"line {number} is no sample")
            labels = _LABEL.findall(found[2] or "")
            metrics.setdefault(found[1], {})[_labels(labels)] = float(found[3])
            written.setdefault(found[1], set()).update(name for name, _ in labels)
    return Page(kinds, metrics, written)


def _labels(pairs: Iterable[tuple[str, str]]) -> Labels:
    return frozenset(
        # Bounds of histograms are written in more than one way.
        (name, f"{float(value):g}" if name in ("le", "quantile") else _unescaped(value))
        for name, value in pairs
        if value
    )


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value) if "\\" in value else value


def complete(url: str) -> str:
    """The address of a page as people write it, made whole: http and /metrics are understood.

    Raises:
        PageError: It is none.
    """
    # It is not repeated where it can't be read: nobody knows where in it a password stands.
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        _ = parts.port
    except ValueError:
        raise PageError(f"an address can't be read; {_WRITE}") from None
    if parts.fragment or "@" in parts.path:
        raise PageError(f"an address can't be read; {_WRITE}")
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path if parts.path not in ("", "/") else "/metrics", parts.query, "")
    )


def shown(url: str) -> str:
    """The address without a password, its own or that of a target."""
    parts = urlsplit(_bare(url))
    secret = re.search("@|password", unquote(parts.query), re.IGNORECASE)
    return urlunsplit(parts._replace(query="...") if secret else parts)


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def fetch(url: str) -> Page:
    """Fetch a page and read it.

    Raises:
        PageError: With what to do about it.
    """
    try:
        return parse(text(url))
    except ValueError as error:
        raise PageError(f"{shown(url)} shows no metrics ({error}); metrics are usually at /metrics") from None


def text(url: str) -> str:
    """What stands at an address; see `fetch`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PageError(f"{shown(url)} is no address of a page; write http://HOST:PORT/metrics")
    request = urllib.request.Request(_bare(url), headers={"Accept": _ACCEPT})  # noqa: S310 - http or https, see above
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        # Not for whoever the page leads on to.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            body: bytes = answer.read()
            # Some proxies compress without being asked.
            return (gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body).decode()
    except urllib.error.HTTPError as error:
        with error:
            raise PageError(f"{shown(error.url)} answers {error.code} {error.reason}; {_fix(error, parts)}") from None
    except UnicodeDecodeError:
        raise PageError(f"{shown(url)} is no text; metrics are usually at /metrics") from None
    except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        fix = "is the exporter running, and reachable from here?"
        if isinstance(reason, ssl.SSLCertVerificationError):
            fix = "SSL_CERT_FILE=/path/to/ca.pem in the environment names the authorities to trust"
        elif isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
            fix = "is it http:// there?"
        raise PageError(f"{shown(url)} can't be read ({reason}); {fix}") from None


def _fix(error: urllib.error.HTTPError, asked: SplitResult) -> str:
    if error.code == HTTPStatus.UNAUTHORIZED and asked.username is not None:
        if urlsplit(error.url).netloc != asked.netloc.rpartition("@")[2]:
            return "the old address leads there, and its login is not sent along: write this one"
        return "its login is another one; what is special in a password is written as in %40 for @"
    if error.code == HTTPStatus.BAD_REQUEST:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if b"HTTPS server" in error.read(200):
                return "write https://"
    return _FIXES.get(error.code, "its log says why")


_FIXES: Mapping[int, str] = {
    400: "a page for one of several targets wants its name: /probe?target=NAME",
    401: "it asks for a login: write http://USER:PASSWORD@HOST:PORT/metrics",
    404: "is the path right? It is usually /metrics",
}
_WRITE = "write http://HOST:PORT/metrics, and what is special in a password as in %40 for @, %23 for #"

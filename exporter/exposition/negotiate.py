"""What the client asked for: format by Accept with its q-values, gzip by Accept-Encoding."""

from __future__ import annotations

from exporter.exposition.page import Dialect

_ESCAPING = frozenset({"allow-utf-8", "underscores", "dots", "values"})
_OPENMETRICS = {
    "": Dialect.OPENMETRICS_1_0_0,
    "1.0.0": Dialect.OPENMETRICS_1_0_0,
    "0.0.1": Dialect.OPENMETRICS_0_0_1,
}
_TEXT = {"": Dialect.TEXT_0_0_4, "0.0.4": Dialect.TEXT_0_0_4, "1.0.0": Dialect.TEXT_1_0_0}
_RANGES = {
    "application/openmetrics-text": _OPENMETRICS,
    "text/plain": _TEXT,
    "text/*": {"": Dialect.TEXT_0_0_4},
    "*/*": {"": Dialect.TEXT_0_0_4},
}


def negotiate(accept: str | None) -> tuple[Dialect, str]:
    """The format to answer in and its content type.

    Unknown types and versions are passed over; without anything acceptable the answer is text 0.0.4, which every
    client reads. Of equal q the one named first wins.
    """
    best: tuple[float, Dialect, str] | None = None
    for media, parameters, q in _ranges(accept or ""):
        dialect = _RANGES.get(media, {}).get(parameters.get("version", ""))
        if dialect is None or q <= 0 or (best is not None and q <= best[0]):
            continue
        best = (q, dialect, parameters.get("escaping", ""))
    if best is None:
        return Dialect.TEXT_0_0_4, Dialect.TEXT_0_0_4.value
    _, dialect, escaping = best
    return dialect, _content_type(dialect, escaping)


def _content_type(dialect: Dialect, escaping: str) -> str:
    if dialect in (Dialect.TEXT_0_0_4, Dialect.OPENMETRICS_0_0_1):
        return str(dialect.value)
    # Our names need no escaping, so every scheme gives the same page.
    scheme = escaping if escaping in _ESCAPING else "underscores"
    return str(dialect.value) + f"; escaping={scheme}"


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether the client takes gzip, and not rather the plain page; an explicit q=0 means no, whatever a wildcard says.

    Only an `identity` that the header names counts against gzip, by its q; of equal q gzip wins.
    """
    wanted: dict[str, float] = {}
    for coding, _, q in _ranges(accept_encoding or ""):
        wanted.setdefault("gzip" if coding == "x-gzip" else coding, q)
    gzip = wanted.get("gzip", wanted.get("*", 0.0))
    return gzip > 0 and gzip >= wanted.get("identity", 0.0)


def _ranges(header: str) -> list[tuple[str, dict[str, str], float]]:
    """Name, parameters and q of each item of a header; an item whose q is no number from 0 to 1 counts as refused."""
    items = []
    for item in header.split(","):
        name, *rest = [piece.strip() for piece in item.split(";")]
        if not name:
            continue
        parameters = {}
        for piece in rest:
            key, _, value = piece.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"').lower()
        try:
            q = float(parameters.pop("q", "1"))
        except ValueError:
            q = 0.0
        if not 0 <= q <= 1:
            q = 0.0
        items.append((name.lower(), parameters, q))
    return items

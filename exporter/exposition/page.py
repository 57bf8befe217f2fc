"""Families to a page in one of the formats that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from exporter.exposition.render import Family


class Dialect(Enum):
    """A format and the content type that announces it."""

    TEXT_0_0_4 = "text/plain; version=0.0.4; charset=utf-8"
    TEXT_1_0_0 = "text/plain; version=1.0.0; charset=utf-8"
    OPENMETRICS_0_0_1 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
    OPENMETRICS_1_0_0 = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @property
    def openmetrics(self) -> bool:
        """Whether this is one of OpenMetrics' versions."""
        return self in (Dialect.OPENMETRICS_0_0_1, Dialect.OPENMETRICS_1_0_0)


# Characters from which on a piece is worth a write of its own. What glibc takes from the kernel anew each time, from
# 128 KiB on, takes nine times as long to be put together.
_PIECE = 65_536


@dataclass(slots=True)
class _Group:
    kind: str
    help: str
    texts: list[str]


def page(families: Iterable[Family], dialect: Dialect) -> bytes:
    """A page as a whole; see `pieces`."""
    return b"".join(map(encoded, pieces(families, dialect)))


def encoded(piece: str) -> bytes:
    """A piece as it goes over the wire; what a driver could not decode must not break the page either."""
    return piece.encode("utf-8", "replace")


def pieces(families: Iterable[Family], dialect: Dialect) -> list[str]:
    """A page: one group per family, HELP and TYPE once; OpenMetrics ends with its mark.

    In pieces, since a page in one piece would be in memory twice or more often until it has been sent.

    Two families of one name and different types can't stand on one page: the first one's type is told, since
    a page that Prometheus refuses would lose everything.
    """
    groups: dict[str, _Group] = {}
    for family in families:
        group = groups.get(family.name)
        if group is None:
            groups[family.name] = _Group(family.kind, family.help, [family.text])
        else:
            group.texts.append(family.text)
    done: list[str] = []
    small: list[str] = []
    size = 0
    for name, group in groups.items():
        small.append(_openmetrics_head(name, group) if dialect.openmetrics else _text_head(name, group))
        for text in group.texts:
            small.append(text)
            size += len(text)
            if size >= _PIECE:
                # A long text is not copied: it stays the piece that it is.
                done += ["".join(small[:-1]), text] if len(text) >= _PIECE else ["".join(small)]
                small, size = [], 0
    if dialect.openmetrics:
        small.append("# EOF\n")
    return [piece for piece in (*done, "".join(small)) if piece]


def _text_head(name: str, group: _Group) -> str:
    text = group.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {group.kind}\n"


def _openmetrics_head(name: str, group: _Group) -> str:
    kind = "unknown" if group.kind == "untyped" else group.kind
    if kind == "counter":
        # A counter there is called without _total; a drop-in counter that never had it can only be `unknown`.
        if name.endswith("_total"):
            name = name.removesuffix("_total")
        else:
            kind = "unknown"
    text = group.help.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"

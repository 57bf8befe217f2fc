"""The landing page: what this is, where the pages are, and how each server is."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable
from html import escape
from urllib.parse import quote

from exporter import __version__
from exporter.declare import Collector
from exporter.failure import Reason
from exporter.gates import FLAVOR_NAMES
from exporter.polling.server import Watched

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: bold; padding: .5rem 0; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8886; overflow-wrap: anywhere; }
.down, .full { font-weight: bold; color: light-dark(#b00020, #ff8a80); }
"""
# The page loads nothing, and nothing but its own style may act in it.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
# Of the servers that a query runs on.
_NAMES = 5
_HEADS = "".join(f'<th scope="col">{head}</th>' for head in ("Server", "State", "Role", "Version", "Last failure"))


def landing(servers: Collection[Watched], telemetry_path: str) -> str:
    """The page as HTML; nothing on it is asked of a database."""
    rows = "".join(_row(watched) for watched in servers)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>database-exporter</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>database-exporter</h1>
<p>Version {escape(__version__)}. Prometheus exporter for PostgreSQL, MySQL and MariaDB.</p>
<ul>
<li><a href="{escape(telemetry_path)}">{escape(telemetry_path)}</a>: metrics</li>
<li><a href="/sd">/sd</a>: the servers, for Prometheus' HTTP service discovery</li>
<li><a href="/-/healthy">/-/healthy</a> and <a href="/-/ready">/-/ready</a>: whether this process lives and serves</li>
</ul>
<table>
<caption>Servers</caption>
<thead><tr>{_HEADS}</tr></thead>
<tbody>{rows}</tbody>
</table>
{_queries(servers)}</main>
</body>
</html>
"""


def _queries(servers: Iterable[Watched]) -> str:
    """What user-defined queries there are, and where each runs; nothing if there are none."""
    found: dict[str, tuple[Collector, list[str]]] = {}
    for watched in servers:
        for own in watched.config.own:
            if not own.user_defined:
                continue
            found.setdefault(own.name, (own, []))[1].append(watched.name)
    if not found:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Query", "About", "Metrics", "Servers"))
    rows = []
    for name, (own, names) in sorted(found.items()):
        metrics = ", ".join(measure.name for measure in own.measures())
        shown = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (own.about, metrics, shown))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f"<table>\n<caption>User-defined queries</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>{''.join(rows)}</tbody>\n</table>\n"
    )


def _row(watched: Watched) -> str:
    state = _state(watched)
    facts, failure = watched.sessions.facts, watched.sessions.failure
    link = f'<a href="/probe?target={_quoted(watched.name)}">{escape(watched.name)}</a>'
    cells = [
        facts.role if facts else "",
        f"{FLAVOR_NAMES[facts.flavor]} {facts.version_text}" if facts else watched.config.engine,
        failure.reason if failure else "",
    ]
    plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{link}</th><td class="{state.split()[0]}">{state}</td>{plain}</tr>'


def _state(watched: Watched) -> str:
    if watched.config.paused:
        return "paused"
    if watched.sessions.up is None:
        return "not scraped yet"
    if watched.sessions.up:
        return "up"
    failure = watched.sessions.failure
    return "full" if failure is not None and failure.reason is Reason.TOO_MANY_CONNECTIONS else "down"


def _quoted(name: str) -> str:
    return escape(quote(name, safe=""))

"""Databases and project schemas that grow faster than they should."""

from alerts.source.model import SERVER, Alert, Recording, above, ask, threshold
from alerts.source.settings import Settings, Severity

# Level -> (metric, labels that name one object). A schema needs its database: names repeat between databases.
LEVELS = {
    "database": ("db_size_bytes", f"{SERVER}, database"),
    "schema": ("db_schema_size_bytes", f"{SERVER}, database, schema"),
}


def _growth(level: str, settings: Settings) -> str:
    return f"{level}:{LEVELS[level][0]}:growth{settings.windows.growth}"


def _ratio(level: str, settings: Settings) -> str:
    return f"{level}:{LEVELS[level][0]}:growth_ratio{settings.windows.growth}"


def recordings(settings: Settings) -> list[Recording]:
    """Bytes and share grown since a day ago; nothing for what is younger than that.

    Differences of the gauge, not increase(), which takes every shrinking for a restart from zero.
    """
    windows = settings.windows
    rules: list[Recording] = []
    for level, (metric, one) in LEVELS.items():
        before = f"max_over_time({metric}[{windows.growth_baseline}] offset {windows.growth})"
        rules += [
            Recording(record=_growth(level, settings), expr=f"{metric} - on ({one}) group_left ()\n{before}"),
            Recording(
                record=_ratio(level, settings),
                expr=f"{_growth(level, settings)}\n  / on ({one}) group_left ()\n({before} > 0)",
            ),
        ]
    return rules


def alerts(settings: Settings) -> list[Alert]:
    """Growth over either threshold that also is enough bytes to matter."""
    severities: tuple[Severity, ...] = ("warning", "critical")
    return [_alert(level, severity, settings) for level in LEVELS for severity in severities]


def _alert(level: str, severity: Severity, settings: Settings) -> Alert:
    metric, one = LEVELS[level]
    enough = f"({_growth(level, settings)} > {settings.minimums.growth_bytes})"
    which, names, matchers = "database {{ $labels.database }}", ["database"], "%s,database=%q"
    if level == "schema":
        which, names, matchers = (
            f"schema {{{{ $labels.schema }}}} of {which}",
            [*names, "schema"],
            matchers + ",schema=%q",
        )
    size = ask(f"{metric}{{{matchers}}}", "humanize1024", *names)
    return Alert(
        name="DatabaseGrowthHigh" + ("ForSchema" if level == "schema" else ""),
        severity=severity,
        expr=above(_ratio(level, settings), "size_growth", severity) + f"\n  and on ({one})\n{enough}",
        summary=f"A {level} grows fast.",
        description=(
            f"The {which} on {{{{ $labels.server }}}} ({{{{ $labels.engine }}}}) grew by "
            f"{{{{ $value | humanizePercentage }}}} within {settings.windows.growth}, to {size}B "
            f"(threshold {threshold('size_growth', severity, 'humanizePercentage')})."
        ),
    )

"""Panels as this project draws them: one function for each kind, with title, meaning, unit and queries required."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as m
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = cm.DataSourceRef(type_val="prometheus", uid="${datasource}")

# What every query of a server selects by.
SELECTED = 'job=~"$job", instance=~"$instance", server=~"$server"'

GREEN, ORANGE, RED = "green", "orange", "red"


@dataclass(frozen=True)
class Query:
    """An expression and what its series are called; `dashed` draws it as a limit."""

    expr: str
    legend: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Placed:
    """A panel and its size on the grid of 24 columns."""

    panel: m.Panel
    width: int
    height: int = 8


def _refs(queries: Sequence[Query]) -> list[tuple[str, Query]]:
    return [(chr(ord("A") + position), query) for position, query in enumerate(queries)]


def _target(ref: str, query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(DATASOURCE).ref_id(ref).expr(query.expr).legend_format(query.legend)


def _steps(*steps: tuple[float | None, str]) -> d.ThresholdsConfig:
    return (
        d.ThresholdsConfig()
        .mode(m.ThresholdsMode.ABSOLUTE)
        .steps([m.Threshold(value=value, color=color) for value, color in steps])
    )


def series(
    title: str,
    meaning: str,
    unit: str,
    *queries: Query,
    top: float | None = None,
    stacked: bool = False,
    width: int = 12,
) -> Placed:
    """Lines over time; `top` fixes the upper end where the unit has one."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(meaning)
        .unit(unit)
        .min(0)
        .datasource(DATASOURCE)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(cm.VisibilityMode.NEVER)
        .thresholds(_steps((None, GREEN)))
        .legend(
            c.VizLegendOptions()
            .display_mode(cm.LegendDisplayMode.TABLE)
            .placement(cm.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(c.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
    )
    if top is not None:
        panel = panel.max(top)
    if stacked:
        panel = panel.stacking(c.StackingConfig().mode(cm.StackingMode.NORMAL))
    for ref, query in _refs(queries):
        panel = panel.with_target(_target(ref, query))
        if query.dashed:
            panel = panel.override_by_query(
                ref,
                [
                    m.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
                    m.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
                    m.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": RED}),
                ],
            )
    return Placed(panel.build(), width)


def number(title: str, meaning: str, unit: str, expr: str, *steps: tuple[float | None, str], width: int = 4) -> Placed:
    """One figure of now, coloured by `steps`."""
    panel = (
        stat.Panel()
        .title(title)
        .description(meaning)
        .unit(unit)
        .datasource(DATASOURCE)
        .thresholds(_steps(*steps))
        .color_mode(cm.BigValueColorMode.BACKGROUND)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_target("A", Query(expr)).instant())
    )
    return Placed(panel.build(), width, 4)


def states(title: str, meaning: str, names: dict[str, tuple[str, str]], query: Query, width: int = 12) -> Placed:
    """A band over time per series; `names` gives text and colour of each value."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(meaning)
        .unit("none")
        .datasource(DATASOURCE)
        .thresholds(_steps((None, GREEN)))
        .mappings([value_names(names)])
        .show_value(cm.VisibilityMode.NEVER)
        .with_target(_target("A", query))
    )
    return Placed(panel.build(), width)


def value_names(names: dict[str, tuple[str, str]]) -> m.ValueMap:
    """Text and colour for each value."""
    return m.ValueMap(
        options={
            value: m.ValueMappingResult(text=text, color=color, index=position)
            for position, (value, (text, color)) in enumerate(names.items())
        }
    )


def rows(
    title: str,
    meaning: str,
    columns: dict[str, str],
    *queries: Query,
    units: dict[str, str] | None = None,
    mappings: dict[str, m.ValueMap] | None = None,
    width: int = 12,
) -> Placed:
    """A table of now. `columns`: field -> heading, in order; all other fields are hidden.

    With several queries their rows are merged where their labels agree, and the value of query A is "Value #A".
    """
    panel = (
        table.Panel()
        .title(title)
        .description(meaning)
        .unit("none")
        .datasource(DATASOURCE)
        .thresholds(_steps((None, GREEN)))
        .no_value("none")
    )
    for ref, query in _refs(queries):
        panel = panel.with_target(_target(ref, query).instant().format(PromQueryFormat.TABLE))
    steps: dict[str, dict[str, object]] = {
        "merge": {},
        "filterFieldsByName": {"include": {"names": list(columns)}},
        "organize": {
            "indexByName": {field: position for position, field in enumerate(columns)},
            "renameByName": columns,
        },
    }
    for name, options in steps.items():
        panel = panel.with_transformation(m.DataTransformerConfig(id_val=name, options=options))
    for heading, unit in (units or {}).items():
        panel = panel.override_by_name(heading, [m.DynamicConfigValue(id_val="unit", value=unit)])
    for heading, mapping in (mappings or {}).items():
        panel = panel.override_by_name(
            heading,
            [
                m.DynamicConfigValue(id_val="mappings", value=[mapping]),
                m.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ],
        )
    return Placed(panel.build(), width)

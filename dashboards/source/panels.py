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

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"
SEVERITIES = {"critical": RED, "warning": ORANGE, "info": BLUE}


@dataclass(frozen=True)
class Query:
    """An expression and what its series are called; `dashed` draws it as a limit, in the colour of its severity."""

    expr: str
    legend: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Placed:
    """A panel and its size on the grid of 24 columns."""

    panel: m.Panel
    width: int
    height: int = 8


def firing(severities: str = ".+") -> str:
    """The alerts of this project that fire now, of these severities (a regular expression).

    Those about the exporter have no server, and the one about missing metrics no target either: they are always shown.
    """
    return (
        f'ALERTS{{alertname=~"Database.*", alertstate="firing", severity=~"{severities}", '
        'job=~"$job|", instance=~"$instance|", server=~"$server|"}'
    )


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
        .fill_opacity(30 if stacked else 0)
        .show_points(cm.VisibilityMode.NEVER)
        .thresholds(_steps((None, GREEN)))
        .legend(
            c.VizLegendOptions()
            .display_mode(cm.LegendDisplayMode.TABLE)
            # Beside the lines: below them there is room for three names. The highest come first.
            .placement(cm.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
            .sort_by("Last *")
            .sort_desc(True)
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
                ],
            )
            for severity, color in SEVERITIES.items():
                panel = panel.override_by_name(
                    query.legend.replace("{{severity}}", severity),
                    [m.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})],
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


def states(
    title: str, meaning: str, names: dict[str, tuple[str, str]], query: Query, width: int = 12, height: int = 8
) -> Placed:
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
    return Placed(panel.build(), width, height)


def value_names(names: dict[str, tuple[str, str]]) -> m.ValueMap:
    """Text and colour for each value."""
    return m.ValueMap(
        options={
            value: m.ValueMappingResult(text=text, color=color, index=position)
            for position, (value, (text, color)) in enumerate(names.items())
        }
    )


# The same dashboard for one server, over the same time.
_ONE_SERVER = {
    "title": "Show this server only",
    "url": "/d/${__dashboard.uid}?${__url_time_range}&${datasource:queryparam}"
    "&var-server=${__data.fields.Server:percentencode}",
}


def rows(
    title: str,
    meaning: str,
    columns: dict[str, str],
    *queries: Query,
    units: dict[str, str] | None = None,
    mappings: dict[str, m.ValueMap] | None = None,
    order: str,
    empty: str,
    width: int = 12,
) -> Placed:
    """A table of now. `columns`: field -> heading, in order; all other fields are hidden.

    With several queries their rows are merged where their labels agree, metric names included, so that all but one must
    drop them; the value of query A is then "Value #A". `order` is the heading whose smallest value comes first; `empty`
    stands where there is no row. The name of a server is a link to this dashboard for it alone.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(meaning)
        .unit("none")
        .datasource(DATASOURCE)
        .thresholds(_steps((None, GREEN)))
        .no_value(empty)
        .sort_by([c.TableSortByFieldState().display_name(order).desc(False)])
        # Not the text for an empty table in each empty cell.
        .override_by_regexp(".*", [m.DynamicConfigValue(id_val="noValue", value=" ")])
        .override_by_name("Server", [m.DynamicConfigValue(id_val="links", value=[_ONE_SERVER])])
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

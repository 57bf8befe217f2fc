"""Rows of panels become a dashboard: numbers, places on the grid, variables, links and annotations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.models import dashboard as m

from dashboards.source.panels import DATASOURCE, SELECTED, Placed, firing

COLUMNS = 24
TAG = "database-exporter"


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Placed]


def dashboard(uid: str, title: str, description: str, rows: Sequence[Row]) -> m.Dashboard:
    """The finished dashboard; panels flow from left to right and start a new line where they do not fit."""
    builder = (
        d.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time("now-3h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(m.DashboardCursorSync.CROSSHAIR)
    )
    for variable in _variables():
        builder = builder.with_variable(variable)
    for annotation in _annotations():
        builder = builder.annotation(annotation)
    finished = builder.build()
    finished.panels = list(_placed(rows))
    # The SDK puts annotations into a menu unless told otherwise; they belong in sight.
    for shown in (finished.annotations and finished.annotations.list_val) or []:
        shown.placement = None  # type: ignore[assignment]
    return finished


def _placed(rows: Sequence[Row]) -> Iterator[m.Panel | m.RowPanel]:
    number, top = 0, 0
    for row in rows:
        number += 1
        heading = d.Row(row.title).build()
        # Never 0: Grafana cannot link to, or collapse, a panel of that number.
        heading.id_val = number
        heading.grid_pos = m.GridPos(h=1, w=COLUMNS, x=0, y=top)
        yield heading
        top += 1
        left = height = 0
        for placed in row.panels:
            number += 1
            if left + placed.width > COLUMNS:
                left, top, height = 0, top + height, 0
            placed.panel.id_val = number
            placed.panel.grid_pos = m.GridPos(h=placed.height, w=placed.width, x=left, y=top)
            yield placed.panel
            left, height = left + placed.width, max(height, placed.height)
        top += height


def _choice(name: str, label: str, query: str) -> d.QueryVariable:
    return (
        d.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(m.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(m.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(m.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _variables() -> list[d.DatasourceVariable | d.QueryVariable]:
    # db_up is there for every server, also for one that is down, and is one series each.
    return [
        d.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _choice("job", "Job", "label_values(db_up, job)"),
        _choice("instance", "Instance", 'label_values(db_up{job=~"$job"}, instance)'),
        _choice("server", "Server", 'label_values(db_up{job=~"$job", instance=~"$instance"}, server)'),
    ]


def _annotations() -> list[d.AnnotationQuery]:
    return [
        d.AnnotationQuery()
        .name("Alerts")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("red")
        .expr(firing("warning|critical"))
        .title_format("{{alertname}}")
        .text_format("{{server}}"),
        d.AnnotationQuery()
        .name("Restarts")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("blue")
        # Not changes(): MySQL tells only its age, so its start moves by fractions of a second.
        .expr(
            f"db_start_time_seconds{{{SELECTED}}} - on (job, instance, server) group_left ()\n"
            f"min_over_time(db_start_time_seconds{{{SELECTED}}}[5m]) > 5"
        )
        .title_format("Restart")
        .text_format("{{server}}"),
    ]

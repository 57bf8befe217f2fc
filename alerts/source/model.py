"""What a rule is made of, and the pieces that all rules share: matching, thresholds, texts and links."""

import re
from dataclasses import dataclass

from alerts.source.settings import Settings, Severity

# What names a server in Prometheus, whether each has a target of its own or many share one page.
SERVER = "job, instance, server"

# Opens a description; gives the label matchers of the alert's server to the questions that follow.
_WHICH = '{{ $s := printf "job=%q,instance=%q,server=%q" $labels.job $labels.instance $labels.server }}'

Rule = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded expression: the name says level:metric:operation."""

    record: str
    expr: str

    def rule(self) -> Rule:
        """The rule as Prometheus reads it."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert at one severity; `description` may ask Prometheus with `ask` for the numbers behind it."""

    name: str
    severity: Severity
    expr: str
    summary: str
    description: str
    panel_variables: tuple[str, ...] = ("job", "instance", "server")

    def rule(self, settings: Settings) -> Rule:
        """The rule as Prometheus reads it, with its durations and links from the settings."""
        timing = settings.timing(self.name, self.severity)
        variables = "&".join(f"var-{name}={{{{ $labels.{name} | urlquery }}}}" for name in self.panel_variables)
        overview = f"{settings.dashboard_base}database-overview"
        rule: Rule = {"alert": self.name, "expr": self.expr, "for": timing.for_}
        if timing.keep_firing_for is not None:
            rule["keep_firing_for"] = timing.keep_firing_for
        return rule | {
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": (_WHICH if "$s" in self.description else "") + self.description,
                "runbook_url": f"{settings.runbook_base}{self.name}.md",
                "dashboard_url": f"{overview}?{variables}" if variables else overview,
            },
        }


def above(expr: str, signal: str, severity: Severity) -> str:
    """`expr` where it is over the server's own threshold, with all its labels."""
    return f'{expr}\n  > on ({SERVER}) group_left ()\ndb_threshold{{signal="{signal}", severity="{severity}"}}'


def ask(expr: str, show: str, *labels: str) -> str:
    """Template text: the value of `expr` for this server, shown by a template function.

    `expr` has %s where the label matchers of the server belong, and %q for each further label of the alert named in
    `labels`, in their order. Without an answer the text is "?".
    """
    further = iter(labels)
    places = " ".join("$s" if place == "%s" else f"$labels.{next(further)}" for place in re.findall("%s|%q", expr))
    quoted = expr.replace('"', '\\"')
    question = f'{{{{ with printf "{quoted}" {places} | query }}}}'
    return f"{question}{{{{ . | first | value | {show} }}}}{{{{ else }}}}?{{{{ end }}}}"


def threshold(signal: str, severity: Severity, show: str) -> str:
    """Template text: the threshold that the alert compared with."""
    return ask(f'db_threshold{{signal="{signal}",severity="{severity}",%s}}', show)

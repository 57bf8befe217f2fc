"""Rules as YAML that people read in a review: PromQL in blocks, keys in the order given."""

from collections.abc import Sequence

import yaml

from alerts.source.model import Rule

_HEADER = "# Written by `python -m alerts.source` from alerts/settings.yml and alerts/source/: change those instead.\n"


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        # List items indented below their key, as in Prometheus' own examples.
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _string)


def text(group: str, rules: Sequence[Rule]) -> str:
    """One rule file with one group, header included."""
    body = yaml.dump(
        {"groups": [{"name": group, "rules": list(rules)}]},
        Dumper=_Dumper,
        sort_keys=False,
        width=120,
        allow_unicode=True,
    )
    return _HEADER + body

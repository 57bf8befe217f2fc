"""python -m alerts.source: writes alerts/recording and alerts/rules, or with --check says whether they are current."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alerts.source import availability, connections, growth, replication, slow_statements
from alerts.source.render import text
from alerts.source.settings import SETTINGS, Settings, SettingsError, load

ROOT = Path(__file__).parents[1]
SUBJECTS = (availability, connections, slow_statements, growth, replication)


def files(settings: Settings) -> dict[Path, str]:
    """Every generated file and what it should hold."""
    wanted: dict[Path, str] = {}
    known: set[tuple[str, str]] = set()
    for module in SUBJECTS:
        subject = module.__name__.rpartition(".")[2]
        group = "database-" + subject.replace("_", "-")
        if recorded := [recording.rule() for recording in module.recordings(settings)]:
            wanted[ROOT / "recording" / f"{subject}.yml"] = text(f"{group}-recorded", recorded)
        alerts = module.alerts(settings)
        known |= {(alert.name, alert.severity) for alert in alerts}
        wanted[ROOT / "rules" / f"{subject}.yml"] = text(group, [alert.rule(settings) for alert in alerts])
    configured = {(name, severity) for name, levels in settings.alerts.items() for severity in levels}
    if unknown := sorted(configured - known):
        name, severity = unknown[0]
        names = ", ".join(sorted(".".join(one) for one in known))
        raise SettingsError(f"alerts.{name}.{severity}: no such alert; there are {names}")
    return wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if --check found files that are not what the settings give; 2 if the settings are wrong."""
    parser = argparse.ArgumentParser(prog="python -m alerts.source", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not current")
    check = parser.parse_args(arguments).check
    try:
        wanted = files(load())
    except SettingsError as error:
        print(f"{SETTINGS.relative_to(ROOT.parent)}: {error}", file=sys.stderr)
        return 2
    present = {path for folder in ("recording", "rules") for path in (ROOT / folder).glob("*.yml")}
    stale = [path for path, body in wanted.items() if path not in present or path.read_text(encoding="utf-8") != body]
    stray = sorted(present - wanted.keys())
    if check:
        for path in [*stale, *stray]:
            print(
                f"{path.relative_to(ROOT.parent)} is not current: run python -m alerts.source",
                file=sys.stderr,
            )
        return 1 if stale or stray else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    for path in stray:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())

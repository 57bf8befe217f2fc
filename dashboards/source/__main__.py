"""python -m dashboards.source: writes dashboards/*.json, or with --check says whether they are current."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

# The classic dashboard works in Grafana 10 to 13; the SDK recommends a newer form that only 13 reads.
warnings.filterwarnings("ignore", message="Prefer using dashboardv2", category=DeprecationWarning)

from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: E402

from dashboards.source import overview  # noqa: E402

ROOT = Path(__file__).parents[1]
DASHBOARDS = {"overview": overview.build}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 if --check found a file that is not what the source gives."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.source", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not current")
    check = parser.parse_args(arguments).check
    status = 0
    for name, build in DASHBOARDS.items():
        path = ROOT / f"{name}.json"
        text = JSONEncoder(sort_keys=True, indent=2).encode(build()) + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"{path.relative_to(ROOT.parent)} is not current: run python -m dashboards.source", file=sys.stderr)
            status = 1
        else:
            path.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())

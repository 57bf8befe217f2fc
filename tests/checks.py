"""`database-exporter check` as its users run it, and what it prints, taken apart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_LINE = re.compile(r"^  (\w+) +(ok|failed|unsupported|disabled|paused)\b(.*)$")
_LEFT_OUT = re.compile(r"^  database (.+) is left out: ")
_FIX = re.compile(r"^ +to mend it: (.*)$")
_SQL = re.compile(r"(?:in database (\S+): )?((?:GRANT|CREATE|ALTER|SET GLOBAL|UPDATE) [^;]*;)")


@dataclass(frozen=True)
class Checked:
    """What one check returned and said; collectors are those of the last server it names."""

    code: int
    out: str
    err: str
    states: Mapping[str, str]
    said: Mapping[str, str]
    fixes: Mapping[str, str]

    def statements(self) -> set[tuple[str | None, str]]:
        """The SQL of all fixes, each with the database it is for, if one is named."""
        return {(found[1], found[2]) for fix in self.fixes.values() for found in _SQL.finditer(fix)}


def check(directory: Path, *servers: Mapping[str, Any], args: tuple[str, ...] = (), **more: Any) -> Checked:
    """Run `check` over a config of these servers."""
    path = directory / "check.yml"
    path.write_text(yaml.safe_dump({"servers": [dict(server) for server in servers], **more}))
    path.chmod(0o600)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DATA_SOURCE")}
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check", f"--config.file={path}", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # As narrow as a forgotten variable of a terminal may make it.
        env={**environment, "COLUMNS": "40"},
        cwd=Path(__file__).parents[1],
    )
    states, said, fixes, last = {}, {}, {}, ""
    for line in done.stdout.splitlines():
        if found := _LINE.match(line):
            last = found[1]
            states[last], said[last] = found[2], found[3].strip()
        elif found := _LEFT_OUT.match(line):
            last = f"database {found[1]}"
        elif found := _FIX.match(line):
            fixes[last] = found[1]
    return Checked(done.returncode, done.stdout, done.stderr, states, said, fixes)

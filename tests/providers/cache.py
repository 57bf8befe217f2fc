"""Where fetched server programs are kept between test runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.providers.processes import is_root


def cache() -> Path:
    """Where fetched programs are kept.

    As root they run as another user, who cannot look into root's home.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "database-exporter"
    return Path("/var/cache/database-exporter") if is_root() else Path.home() / ".cache/database-exporter"


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """Give the directory `name` of the cache; `build` fills it the first time.

    It appears whole or not at all, and once, however many test runs ask for it at the same time.
    """
    target = cache() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            building = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            building.chmod(0o755)
            try:
                build(building)
                building.rename(target)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return target


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

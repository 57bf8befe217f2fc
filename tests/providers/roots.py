"""Small Debian systems that hold the servers and tools which come as Debian packages only."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.providers.base import ProviderError
from tests.providers.cache import cached
from tests.providers.processes import UNPRIVILEGED, is_root, run


@dataclass(frozen=True)
class Root:
    """A Debian release and the packages of it that we want; of `unpacked` the files alone, without what they need."""

    suite: str
    packages: tuple[str, ...]
    unpacked: tuple[str, ...] = ()


# Of the package that would set up a server: its plugins; and of the library that makes a cluster.
_PLUGINS = ("mariadb-server", "galera-4")
ROOTS = {
    "mysql-9.7": Root("sid", ("mysql-server-core", "mysql-client-core")),
    "mariadb-10.11": Root("bookworm", ("mariadb-server-core", "mariadb-client-core"), _PLUGINS),
    "mariadb-11.8": Root("trixie", ("mariadb-server-core", "mariadb-client-core"), _PLUGINS),
    "tools": Root(
        "sid",
        (
            "prometheus",
            "prometheus-alertmanager",
            "prometheus-postgres-exporter",
            "prometheus-mysqld-exporter",
            "pgbouncer",
        ),
    ),
    # The local PostgreSQL 18 is a wheel; this one is for images.
    "postgres-18": Root("sid", ("postgresql-18",)),
    "python": Root("trixie", ("python3", "python3-venv", "ca-certificates")),
}

# The directory that holds the workspace is seen inside the root under the path that it has outside.
ENTER = """
mkdir -p "$1$2" && mount --rbind "$2" "$1$2" && mount --rbind /dev "$1/dev" && cd / || exit 125
root=$1; shift 2
exec $CHROOT "$root" "$@"
"""
# What mmdebstrap runs outside of the root, whose directory is $1, with the root's own sources of packages. Nothing but
# /usr: elsewhere a package may have directories where the root has symbolic links.
UNPACK = """
cd "$1/tmp" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download {0} &&
dpkg-deb --fsys-tarfile {0}_*.deb | tar --extract --directory="$1" --no-overwrite-dir ./usr &&
rm {0}_*.deb"""


def root(name: str) -> Path:
    """Give the directory of a root; built in about 15 s the first time."""
    wanted = ROOTS[name]
    return cached("+".join((f"roots/{name}", *wanted.unpacked)), lambda target: _build(wanted, target))


def inside(name: str, argv: Sequence[str | Path]) -> list[str | Path]:
    """Give the command that runs `argv` inside a root, as an unprivileged user, in the same process."""
    _check_namespaces()
    user, group = UNPRIVILEGED.pw_uid, UNPRIVILEGED.pw_gid
    if is_root():
        chroot = f"chroot --userspec={user}:{group}"
    else:
        # Who looks like root in here steps down again, since servers refuse to run as root.
        chroot = f"unshare --user --map-user={user} --map-group={group} --keep-caps chroot"
    return [
        *_unshare(),
        *("env", f"CHROOT={chroot}", "sh", "-c", ENTER, "enter"),
        *(root(name), tempfile.gettempdir()),
        *argv,
    ]


def _unshare() -> list[str]:
    if is_root():
        return ["unshare", "--mount", "--propagation", "private"]
    return ["unshare", "--map-root-user", "--mount"]


@functools.cache
def _check_namespaces() -> None:
    try:
        run([*_unshare(), "true"])
    except ProviderError as error:
        wanting = "root lacks the right to mount here" if is_root() else "there are no user namespaces"
        raise ProviderError(
            "MySQL, MariaDB and the tools come as Debian packages; to run them without installing them needs "
            f"root, user namespaces or Docker, and none is there ({wanting}): {error}"
        ) from None


def _build(wanted: Root, target: Path) -> None:
    need("mmdebstrap", "mmdebstrap")
    argv: list[str | Path] = [
        "mmdebstrap",
        # Mirrors that are a little behind are good enough for tests.
        """--aptopt=Acquire::Check-Valid-Until "false\"""",
        """--aptopt=Acquire::Retries "3\"""",
        "--variant=minbase",
        f"--include={','.join(wanted.packages)}",
        *(f"--customize-hook={UNPACK.format(package)}" for package in wanted.unpacked),
        wanted.suite,
    ]
    if is_root():
        run([*argv, target])
        target.chmod(0o755)
        return
    # Without root the files would belong to users that only mmdebstrap can be; an archive makes them ours.
    need("newuidmap", "uidmap")
    archive = target / "root.tar"
    run([*argv[:1], "--mode=unshare", *argv[1:], archive])
    run(["tar", "-xf", archive, "-C", target, "--exclude=./dev/*", "--no-same-owner"])
    archive.unlink()


def need(program: str, package: str) -> None:
    """Install a Debian package for a program if it is not there; ProviderError where we may not."""
    if shutil.which(program):
        return
    if is_root() and shutil.which("apt-get"):
        run(["apt-get", "update"])
        run(["apt-get", "install", "--yes", "--no-install-recommends", package], DEBIAN_FRONTEND="noninteractive")
        return
    raise ProviderError(
        f"servers without Docker are made with {program}, which is not on this machine: apt-get install {package}"
    )

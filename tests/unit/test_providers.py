"""How tests choose servers, and that programs they start end with them."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers import roots
from tests.providers.base import Kind, ProviderError, wait_for
from tests.providers.cache import cached
from tests.providers.containers import ContainerProvider
from tests.providers.fleet import Fleet
from tests.providers.local import LocalProvider
from tests.providers.processes import Process, Workspace, descendants
from tests.providers.tls import make_certificate

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    yield made
    made.close()


def test_names_say_what_a_server_is() -> None:
    kind = Kind.parse("mariadb-10.11")
    assert (kind.engine, kind.flavor, kind.release) == ("mysql", "mariadb", (10, 11))


@pytest.mark.parametrize("name", ["oracle-23", "postgres", "postgres-x", ""])
def test_other_names_are_refused_with_an_example(name: str) -> None:
    with pytest.raises(ProviderError, match="write for example postgres-18"):
        Kind.parse(name)


def test_edges_are_the_oldest_and_newest_of_each_flavor() -> None:
    names = Fleet("local", "edges").names
    assert names == ["postgres-13", "postgres-18", "mysql-9.7", "mariadb-10.11", "mariadb-11.8"]


def test_all_are_those_of_the_provider() -> None:
    assert Fleet("local", "all").names == LocalProvider(Workspace()).names()
    assert set(LocalProvider(Workspace()).names()) < set(ContainerProvider(Workspace()).names())


def test_engine_and_flavor_narrow_the_choice() -> None:
    fleet = Fleet("local", "postgres-18, mysql-9.7,mariadb-11.8")
    assert fleet.chosen(engines=["mysql"]) == ["mysql-9.7", "mariadb-11.8"]
    assert fleet.chosen(flavors=["mariadb"]) == ["mariadb-11.8"]
    assert fleet.chosen() == fleet.names


def test_a_server_that_the_provider_has_not_is_named_with_those_it_has() -> None:
    with pytest.raises(ProviderError, match=r"no mysql-8\.0; it has postgres-13, "):
        Fleet("local", "mysql-8.0")


def test_tests_of_a_flavor_not_chosen_are_left_out_and_not_skipped() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/servers/test_tools.py", "--collect-only", "-q"),
            *("--provider=local", "--servers=postgres-18", "-p", "no:cacheprovider"),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "test_a_server_with_tls_proves_who_it_is[postgres-18]" in done.stdout
    assert "test_performance_schema_can_be_turned_on" not in done.stdout
    assert "skipped" not in done.stdout


def test_the_rest_is_all_that_a_run_on_the_edges_leaves() -> None:
    def collected(*options: str) -> set[str]:
        argv = [*(sys.executable, "-m", "pytest", "--collect-only", "-q", "--provider=local", "-p", "no:cacheprovider")]
        done = subprocess.run(
            [*argv, *options], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=300
        )
        return {line for line in done.stdout.splitlines() if "::" in line}

    edges, rest = collected("--servers=edges"), collected("--servers=all", "--full", "--beyond=edges")
    assert edges | rest == collected("--servers=all", "--full")
    assert edges & rest == set()
    assert any("[postgres-15" in name for name in rest)


def test_pause_freezes_children_too(workspace: Workspace) -> None:
    process = _family(workspace)
    pids = [process.pid, *descendants(process.pid)]
    process.pause()
    assert wait_for(lambda: {_state(pid) for pid in pids} == {"T"}, 5)
    process.resume()
    assert wait_for(lambda: "T" not in {_state(pid) for pid in pids}, 5)
    process.pause()
    process.kill()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_killed_test_run_leaves_no_process_and_no_file() -> None:
    script = (
        "import time; from tests.providers.processes import *; "
        "w = Workspace(); p = Process(['sleep', '300'], workspace=w, log=w.path / 'log'); p.start(); "
        "print(p.pid, w.path, flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, path = run.stdout.readline().split()
        assert Path(path).exists()
        assert Path(f"/proc/{pid}").exists()
        os.kill(run.pid, signal.SIGKILL)
    assert wait_for(lambda: not Path(f"/proc/{pid}").exists(), 15)
    assert wait_for(lambda: not Path(path).exists(), 15)


def test_the_cache_builds_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Path] = []

    def build(target: Path) -> None:
        built.append(target)
        time.sleep(0.2)
        (target / "file").write_text("whole")

    threads = [threading.Thread(target=cached, args=("thing", build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (cached("thing", build) / "file").read_text() == "whole"


def test_a_failed_build_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def build(target: Path) -> None:
        (target / "half").touch()
        raise ProviderError("no network")

    with pytest.raises(ProviderError):
        cached("thing", build)
    assert [path.name for path in (tmp_path / "database-exporter").iterdir()] == ["thing.lock"]


def test_where_nothing_can_run_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "_unshare", lambda: ["false"])
    roots._check_namespaces.cache_clear()
    with pytest.raises(ProviderError, match="needs root, user namespaces or Docker, and none is there"):
        roots.inside("mysql-9.7", ["mysqld"])
    roots._check_namespaces.cache_clear()


def test_certificates_are_what_tls_wants(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=str(made.authority))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    other = server.wrap_bio(outgoing, incoming, server_side=True)
    ends = [one, other]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert ends == []
    assert one.version() == "TLSv1.3"


def _family(workspace: Workspace) -> Process:
    process = Process(["sh", "-c", "sleep 300 & wait"], workspace=workspace, log=workspace.path / "log")
    process.start()
    assert wait_for(lambda: len(descendants(process.pid)) == 1, 10)
    return process


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

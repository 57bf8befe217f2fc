"""The command line: flags, variables, the config file, and what is said where they are wrong."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter import __version__
from exporter.cli import main
from tests.exporters import ROOT, Exporter, environment

CANARY = "canary-77x1"
SOUND = f"servers:\n  - {{name: a, url: 'postgresql://u:{CANARY}@127.0.0.1:1/d'}}\n"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the command in this process, with nothing but the given variables to configure it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def command(*arguments: str, **variables: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(os, "environ", environment(**variables))
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        output = capsys.readouterr()
        return Done(status, output.out, output.err)

    yield command
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    file = tmp_path / "sound.yml"
    file.write_text(SOUND)
    return file


def test_version(run: Run) -> None:
    for arguments in (["--version"], ["serve", "--version"]):
        assert run(*arguments).stdout == f"database-exporter {__version__}\n"
    module = subprocess.run([sys.executable, "-m", "exporter", "--version"], cwd=ROOT, capture_output=True, check=True)
    assert module.stdout.decode() == f"database-exporter {__version__}\n"


def test_help_teaches(run: Run) -> None:
    text = run("--help").stdout
    for word in ("serve", "check", "demo", "metrics", "DATA_SOURCE_NAME=", "DATABASE_EXPORTER_WEB_LISTEN_ADDRESS"):
        assert word in text
    for flag in ("--config.file", "--config.check", "--web.listen-address", "--web.telemetry-path", "--log.level"):
        assert flag in text
        assert flag in run("serve", "--help").stdout
    assert "--grants" in run("check", "--help").stdout


def test_without_servers_it_says_how_to_name_some(run: Run) -> None:
    for arguments in ([], ["serve"], ["check"], ["--config.check"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert "--config.file" in done.stderr
        assert "DATA_SOURCE_NAME=" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_sound_config_checks(run: Run, sound: Path) -> None:
    done = run(f"--config.file={sound}", "--config.check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 server" in done.stdout
    by_variable = run(DATABASE_EXPORTER_CONFIG_FILE=str(sound), DATABASE_EXPORTER_CONFIG_CHECK="true")
    assert (by_variable.returncode, by_variable.stdout) == (0, done.stdout)
    assert run("--config.check", DATA_SOURCE_NAME="mysql://u@127.0.0.1:1").returncode == 0
    # A variable that says no is no flag: here it would listen, if it could.
    not_asked = {"DATABASE_EXPORTER_CONFIG_CHECK": "false", "DATABASE_EXPORTER_WEB_LISTEN_ADDRESS": "192.0.2.1:1"}
    assert run(f"--config.file={sound}", **not_asked).returncode == 1


def test_all_mistakes_of_a_config_are_told_at_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(
        f"servers:\n  - name: a\n    url: postgresql://u:{CANARY}@h/d\n    pasued: true\n"
        "    collectors: {pg_statments: false}\nwebb: {}\n"
    )
    for flags in ([], ["--config.check"]):
        done = run(f"--config.file={file}", *flags)
        assert done.returncode == 2
        lines = done.stderr.splitlines()
        assert [line.removeprefix(f"{file}:").split(":")[0] for line in lines] == ["4", "5", "6"]
        assert "paused" in lines[0]
        assert "pg_statements" in lines[1]
        assert CANARY not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config.fiel=x"], "did you mean --config.file?"),
        (["--web.listen-adress", ":1"], "did you mean --web.listen-address?"),
        (["--log.level=loud"], "'debug', 'info', 'warn', 'error'"),
        (["--collector.no_such_thing"], "collectors:"),
        (["--collect.custom_query"], "collectors:"),
        (["--metric-prefix"], "--metric-prefix needs a value"),
        (["--mysqld.address=h:3306"], "--mysqld.username"),
        (["chekc"], "did you mean check?"),
        (["nothing-like-it"], "serve, check, compare, demo, metrics"),
        (["--log.level=info", "check"], "a command comes first"),
        (["check", "--web.listen-address=:1"], "unknown flag --web.listen-address"),
        (["--config"], "unknown flag --config;"),
    ],
)
def test_a_wrong_argument_is_told_with_the_right_one(run: Run, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [[f"--password={CANARY}"], ["--password", CANARY], [f"-p{CANARY}"], [f"mysql://u:{CANARY}@h"], ["serve", CANARY]],
)
def test_what_may_be_a_password_is_not_repeated(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert CANARY not in done.stderr


def test_wrong_addresses_and_paths_are_told(run: Run, sound: Path) -> None:
    done = run(f"--config.file={sound}", "--web.listen-address=nine", "--web.telemetry-path=metrics")
    assert done.returncode == 2
    address, path = done.stderr.splitlines()
    assert address.startswith("--web.listen-address: must be addresses such as")
    assert path.startswith("--web.telemetry-path: must be a path such as /metrics")


def test_wrong_variables_are_told_by_name(run: Run, sound: Path) -> None:
    for name, value in {"LOG_LEVEL": "loud", "LOG_FORMAT": "xml", "CONFIG_CHECK": "perhaps"}.items():
        done = run(f"--config.file={sound}", **{f"DATABASE_EXPORTER_{name}": value})
        assert done.returncode == 2
        assert f"DATABASE_EXPORTER_{name} must be" in done.stderr


def test_a_flag_wins_over_its_variable_and_that_over_the_file(tmp_path: Path) -> None:
    config = SOUND + "web: {telemetry_path: /from-file}\n"
    variable = {"DATABASE_EXPORTER_WEB_TELEMETRY_PATH": "/from-variable"}
    with Exporter(tmp_path, config) as exporter:
        assert exporter.get("/from-file")[0] == 200
    with Exporter(tmp_path, config, variable) as exporter:
        assert exporter.get("/from-variable")[0] == 200
    flags = ("--web.telemetry-path=/from-flag", "--log.format=json")
    with Exporter(tmp_path, config, variable, flags=flags, listen="[::1]:0") as exporter:
        assert exporter.get("/from-flag")[0] == 200
        assert exporter.get("/from-variable")[0] == 404
        assert exporter.get("/from-file")[0] == 404
        assert '"msg": "listening on http://[::1]:' in exporter.log()


def test_a_taken_port_is_told(run: Run, tmp_path: Path, sound: Path) -> None:
    with Exporter(tmp_path, SOUND) as exporter:
        address = exporter.url.removeprefix("http://")
        done = run(f"--config.file={sound}", f"--web.listen-address={address}")
    assert done.returncode == 1
    assert f"cannot listen on {address}: another process listens there" in done.stderr
    assert "--web.listen-address" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "said"), [("192.0.2.1:0", "no such address"), ("no-such-host.invalid:0", "not known")]
)
def test_an_address_that_is_not_ours_is_told(run: Run, sound: Path, address: str, said: str) -> None:
    done = run(f"--config.file={sound}", f"--web.listen-address={address}")
    assert done.returncode == 1
    assert said in done.stderr


def test_output_into_a_pipe_that_closes() -> None:
    done = subprocess.run(
        f"{sys.executable} -m exporter metrics | head -n 1",
        shell=True,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("# Metrics\n", "")


def test_it_serves_on_the_socket_that_systemd_gives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        # systemd's sockets begin at 3, and the variable names the process that they are for.
        command = f"exec 3<&{number}; LISTEN_PID=$$ exec {sys.executable} -m exporter --web.systemd-socket"
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=ROOT,
            env=environment(LISTEN_FDS="1", DATA_SOURCE_NAME="postgresql://u@127.0.0.1:1"),
            pass_fds=[number],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{listening.getsockname()[1]}/-/healthy", timeout=60
            ) as response:
                assert response.read() == b"healthy\n"
        finally:
            process.terminate()
            _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said


def test_without_a_socket_of_systemd_it_says_so(run: Run) -> None:
    done = run("--web.systemd-socket", DATA_SOURCE_NAME="postgresql://u@127.0.0.1:1")
    assert done.returncode == 1
    assert "systemd has given no socket" in done.stderr


def test_it_says_what_it_would_ask_for_and_ends(run: Run) -> None:
    done = run("--dumpmaps")
    assert done.returncode == 0
    assert done.stdout.startswith("# Metrics")

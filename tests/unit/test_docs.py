"""The documents: links lead somewhere, examples load, and what they list is what there is."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from exporter import __version__, accounts
from exporter.commands.configuration import known
from exporter.config import load_text
from exporter.config.web_file import load_web_file
from exporter.facts import Facts, Identity, Role
from exporter.failure import Reason
from exporter.registry import collectors_by_name

ROOT = Path(__file__).parents[2]
COMMANDS = ("", "serve", "check", "compare", "demo", "metrics")


PRODUCTS = {".venv", ".git", "__pycache__", "build", "dist", "node_modules"}


def _files() -> list[Path]:
    """What belongs to the repository: git's list; in an archive without git all but what tools have made."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [path for path in ROOT.rglob("*") if path.is_file() and not PRODUCTS & set(path.relative_to(ROOT).parts)]
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


FILES = _files()
DOCUMENTS = sorted(path for path in FILES if path.suffix == ".md")
README = (ROOT / "README.md").read_text()


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fenced(text: str, language: str) -> list[str]:
    """The code blocks of a language, without their fences."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What a link's # may name: headings, as the usual sites spell them."""
    headings = re.findall(
        r"^#+ +(.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / unquote(path)).resolve() if path else document
        assert target.exists(), f"{link} does not exist"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"{link}: no such heading"


YAML = [(document, text) for document in DOCUMENTS for text in fenced(document.read_text(), "yaml")]


@pytest.mark.parametrize(("document", "text"), YAML, ids=lambda value: _name(value) if isinstance(value, Path) else "")
def test_yaml_is_a_config_that_loads_or_one_of_prometheus(document: Path, text: str, tmp_path: Path) -> None:
    if re.search(r"^scrape_configs:", text, re.MULTILINE):
        jobs = [job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]]
        pattern = yaml.safe_load((ROOT / "alerts/settings.yml").read_text())["exporter_jobs"]
        assert all(re.fullmatch(pattern, job) for job in jobs), f"alerts look for jobs named {pattern}"
        return
    if re.search(r"^basic_auth_users:", text, re.MULTILINE):
        (tmp_path / "web.yml").write_text(text)
        assert load_web_file(tmp_path / "web.yml").tls_server_config is not None
        return
    (tmp_path / "orders").write_text("secret")
    config = load_text(
        text.replace("/run/secrets", str(tmp_path)),
        source=_name(document),
        known=known(),
        env={"USERS_PASSWORD": "secret"},
    )
    assert config.servers
    assert not config.warnings


def _help(command: str) -> str:
    return _helps()[command]


@cache
def _helps() -> dict[str, str]:
    return {
        command: subprocess.run(
            [sys.executable, "-m", "exporter", *([command] if command else []), "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "200"},
        ).stdout
        for command in COMMANDS
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_and_variable_is_in_the_readme(command: str) -> None:
    flags = set(re.findall(r"^  (?:-\w, )?(--[\w.-]+)", _help(command), re.MULTILINE))
    variables = set(re.findall(r"^  (DATABASE_EXPORTER_\w+)", _help(command), re.MULTILINE))
    assert "--help" in flags
    table = README[README.index("## Commands and flags") :]
    missing = {flag for flag in flags if not re.search(rf"`(?:\w+ )?{re.escape(flag)}`", table)}
    missing |= {variable for variable in variables if f"`{variable}`" not in table}
    assert not missing


def test_the_readme_lists_no_flag_that_does_not_exist() -> None:
    table = README[README.index("## Commands and flags") : README.index("## Which servers")]
    claimed = re.findall(r"^\| `(?:(\w+) )?(--[\w.-]+)`", table, re.MULTILINE)
    assert claimed
    for command, flag in claimed:
        assert flag in _help(command or "serve")


def test_every_command_is_in_the_readme() -> None:
    commands = re.findall(r"^  (\w+) +\w", _help("").partition("commands:")[2].partition("options:")[0], re.MULTILINE)
    assert set(commands) == set(COMMANDS) - {""}
    table = README[README.index("## Commands and flags") :]
    assert all(f"`{command}`" in table or f"[{command}]`" in table for command in commands)


def _facts(engine: str, flavor: str, *version: int) -> Facts:
    identity = Identity("1", 0.0, Role.PRIMARY)
    return Facts(
        engine, flavor, version, ".".join(map(str, version)), identity, "postgres" if engine == "postgres" else ""
    )


@pytest.mark.parametrize(
    ("place", "facts"),
    [
        *((0, _facts("postgres", "postgres", major, 1)) for major in (16, 17, 18)),
        *((1, _facts("mysql", "mysql", *version)) for version in ((8, 0, 36), (8, 4, 0), (9, 7, 0))),
        *((2, _facts("mysql", "mariadb", *version)) for version in ((10, 6, 0), (10, 11, 0), (11, 4, 0), (11, 8, 0))),
    ],
)
def test_the_accounts_of_the_readme_are_those_that_check_prints(place: int, facts: Facts) -> None:
    blocks = fenced(README, "sql")
    assert len(blocks) == 3
    assert blocks[place].splitlines() == accounts.statements(facts, "exporter", "CHOOSE-A-PASSWORD", [])


def test_every_collector_is_in_the_reference() -> None:
    reference = (ROOT / "docs/metrics.md").read_text()
    missing = [name for name in collectors_by_name() if not re.search(rf"\b{name}\b", reference)]
    assert not missing, "run make docs"


def test_every_reason_is_explained() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    table = text[text.index("## Reasons") : text.index("## Dropped series")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [str(reason) for reason in Reason]


def test_the_changelog_has_the_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changes
    assert re.search(rf"\b{re.escape(__version__)}\b", changes)


def test_every_decision_is_short_and_in_the_list() -> None:
    directory = ROOT / "docs/decisions"
    pages = sorted(path for path in directory.glob("*.md") if path.name != "README.md")
    listed = re.findall(r"^\d+\. \[.+\]\((.+)\)$", (directory / "README.md").read_text(), re.MULTILINE)
    assert listed == [page.name for page in pages]
    for number, page in enumerate(pages, 1):
        lines = page.read_text().splitlines()
        assert page.name.startswith(f"{number:04d}-")
        assert lines[0].startswith(f"# {number}. ")
        assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]
        assert len(lines) <= 40


def test_no_registry_is_named() -> None:
    # Written so that this file does not hold what it looks for.
    words = (
        ("pypi", ".org"), ("python", "hosted.org"), ("npmjs", ".org"),
        ("npmjs", ".com"), ("deb.debian", ".org"), ("snapshot.debian", ".org"), ("archive.ubuntu", ".com"),
        ("proxy.golang", ".org"), ("registry-1.", "docker.io"), ("ghcr", ".io"), ("quay", ".io"),
    )  # fmt: skip
    forbidden = re.compile("|".join(re.escape("".join(parts)) for parts in words).encode(), re.IGNORECASE)
    found = {f"{_name(path)}: {match[0].decode()}" for path in FILES for match in forbidden.finditer(path.read_bytes())}
    assert not found

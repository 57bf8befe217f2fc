"""Pages: one group per family, HELP and TYPE once, the end marked where the format wants it."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition.compress import compress
from exporter.exposition.page import Dialect, page, pieces
from exporter.exposition.process import DECLARED, Process
from exporter.exposition.render import Family

HELP = st.text(
    st.one_of(st.sampled_from(list('"\\\n')), st.characters(exclude_categories=["Cs", "Cc", "Z"])), max_size=20
)


def family(name: str, server: str, value: float, text: str = "Help.") -> Family:
    return Family(name, "gauge", text, f'{name}{{server="{server}"}} {value}\n', 1)


@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), st.integers(0, 99)), unique=True))
def test_families_of_one_name_are_one_group(parts: list[tuple[str, int]]) -> None:
    text = page([family(name, str(server), server) for name, server in parts], Dialect.TEXT_0_0_4).decode()
    heads = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert heads == list(dict.fromkeys(name for name, _ in parts))
    # The lines after a head are all of its name, up to the next head.
    current = ""
    for line in text.splitlines():
        if line.startswith("#"):
            current = line.split()[2]
        else:
            assert line.startswith(current + "{")
    assert sum(not line.startswith("#") for line in text.splitlines()) == len(parts)


def test_of_two_types_of_one_name_the_first_is_told() -> None:
    other = Family("one", "counter", "Other.", 'one{server="b"} 2\n', 1)
    body = page([family("one", "a", 1), other], Dialect.TEXT_0_0_4).decode()
    [read] = parse_text(body)
    assert (read.type, len(read.samples)) == ("gauge", 2)


@given(HELP, st.sampled_from([Dialect.TEXT_0_0_4, Dialect.TEXT_1_0_0]))
def test_help_comes_back_in_text(text: str, dialect: Dialect) -> None:
    [read] = parse_text(page([family("one", "a", 1, text)], dialect).decode())
    assert read.documentation == text


@given(HELP)
def test_help_comes_back_in_openmetrics(text: str) -> None:
    [read] = _openmetrics(page([family("one", "a", 1, text)], Dialect.OPENMETRICS_1_0_0).decode())
    assert read.documentation == text


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_empty_page_is_one_too(dialect: Dialect) -> None:
    assert page([], dialect) == (b"# EOF\n" if "openmetrics" in dialect.value else b"")


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_process_is_readable_in_every_format(dialect: Dialect) -> None:
    body = page(Process().families(complete=True), dialect).decode()
    found = {read.name for read in (_openmetrics(body) if dialect.openmetrics else parse_text(body))}
    assert {item.name for item in DECLARED} <= found
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "python_gc_collections"} <= found


@given(st.lists(st.binary(max_size=5000), max_size=5))
def test_gzip_gives_back_what_went_in(parts: list[bytes]) -> None:
    assert gzip.decompress(compress(parts)) == b"".join(parts)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_page_in_pieces_is_the_page(dialect: Dialect) -> None:
    sizes = (1, 70_000, 2, 30_000, 30_000, 30_000, 200_000, 1)
    families = [family(f"metric_{n}", "x" * size, n) for n, size in enumerate(sizes)]
    found = pieces(families, dialect)
    assert "".join(found).encode() == page(families, dialect)
    # Long texts are not copied; what is between them is put together.
    assert [found.index(item.text) for item in families if item.text in found] == [1, 4]
    assert len(found) == 6


def test_gzip_makes_pages_small() -> None:
    body = page([family("one", f"server number {n}", n) for n in range(2000)], Dialect.TEXT_0_0_4)
    assert len(compress([body])) < len(body) / 5


def _openmetrics(text: str) -> list[Metric]:
    # The library has no types there.
    return list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]

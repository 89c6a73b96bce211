"""The report: complete, self-contained, safe to open whatever artists are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import WarehouseError
from streams.warehouse.charts import cut
from streams.warehouse.published import Marts, read
from streams.warehouse.report import headline, render

_RANKED = "listeners BIGINT, plays BIGINT, listens BIGINT, minutes DOUBLE, skip_rate DOUBLE"
_TABLES = {
    "daily_activity": f"day DATE, {_RANKED}, completion DOUBLE",
    "artists": f"artist VARCHAR, {_RANKED}",
    "genres": f"genre VARCHAR, {_RANKED}",
    "countries": f"country VARCHAR, {_RANKED}",
    "devices": f"device_class VARCHAR, {_RANKED}",
    "hour_of_week": f"weekday INTEGER, hour INTEGER, {_RANKED}",
    "listener_segments": f"intensity VARCHAR, breadth VARCHAR, {_RANKED}, active_days DOUBLE",
    "retention": "cohort DATE, weeks_later INTEGER, cohort_listeners BIGINT, listeners BIGINT,"
    " share DOUBLE",
    "data_quality": "measure VARCHAR, value DOUBLE, unit VARCHAR",
    "release": "id VARCHAR, published_at TIMESTAMPTZ, min_listeners INTEGER, version VARCHAR,"
    " listens_read BIGINT",
}
_HOSTILE = (
    "<script>alert(1)</script>",
    '"><img onerror=x>',
    "{{ 7 * 191 }}",
    "]]></svg><b>",
    "\u202egnp.exe\u0007",
)
_LONG = "An Orchestra of Which the Name Alone Takes Longer than Most of Its Songs" * 2
_MONDAY = date(2026, 3, 2)
_VOID = {"meta", "link", "br", "img", "hr", "input"}

Row = tuple[object, ...]


def _released(path: Path, minimum: int, **marts: list[Row]) -> Path:
    with duckdb.connect(path) as connection:
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.begin()
        marts["release"] = [("cafe", "2026-04-01 09:30:00+00", minimum, "1.2.3", 987_654)]
        for table, rows in marts.items():
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        connection.commit()
    return path


def _full(path: Path) -> Path:
    figures = (20, 999, 900, 5_432.1, 0.25)
    return _released(
        path,
        20,
        daily_activity=[
            (_MONDAY + timedelta(index), 51, 1_200, 1_001 + index, 600.0, 0.125, 0.9)
            for index in range(10)
            if index != 4
        ],
        artists=[
            ("Loudest", 77, 4_000, 3_210, 6_060.0, 0.07),
            *((name, *figures) for name in (*_HOSTILE, _LONG)),
        ],
        genres=[("dub & bass", 66, 5_000, 4_321, 7_260.0, 0.08)],
        countries=[("PT", 55, 6_000, 5_678, 8_460.0, 0.09)],
        devices=[("headphones", 44, 7_000, 6_789, 9_660.0, 0.11)],
        hour_of_week=[(1, 0, 22, 90, 81, 3.0, 0.1), (7, 23, 23, 3_000, 2_345, 3.0, 0.1)],
        listener_segments=[("heavy", "loyal", 33, 8_000, 7_654, 10_860.0, 0.12, 9.5)],
        retention=[
            (_MONDAY, 0, 40, 40, 1.0),
            (_MONDAY, 1, 40, 20, 0.5),
            (_MONDAY + timedelta(7), 0, 1_234, 1_234, 1.0),
        ],
        data_quality=[
            ("listeners", 1_110.0, "listeners, to the nearest ten"),
            ("listens", 9_900.0, "plays, to the nearest hundred"),
            ("without genre", 37.0, "percent of plays"),
            ("days covered", 10.0, "days, first to last published"),
        ],
    )


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A release with something in every mart, and its report."""
    folder = tmp_path_factory.mktemp("full")
    released = _full(folder / "reporting.duckdb")
    render(released, folder / "report.html")
    return released, (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A release in which everything was held back, and its report."""
    folder = tmp_path_factory.mktemp("empty")
    released = _released(folder / "reporting.duckdb", 20)
    render(released, folder / "report.html")
    return released, (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def one_person(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Eleven years of one listener, and their report."""
    folder = tmp_path_factory.mktemp("one")
    released = _released(
        folder / "reporting.duckdb",
        1,
        listener_segments=[("regular", "loyal", 1, 20_000, 18_000, 60_000.0, 0.1, 2_000.0)],
        retention=[(_MONDAY, week, 1, 1, 1.0) for week in range(12)],
        data_quality=[("listeners", 0.0, "listeners, to the nearest ten")],
    )
    with duckdb.connect(released) as connection:
        connection.execute(
            "INSERT INTO daily_activity"
            " SELECT DATE '2015-01-01' + 2 * i::INTEGER, 1, 10, 9, 30, 0.1, NULL"
            " FROM range(2000) AS days(i)"
        )
        connection.execute(
            "INSERT INTO artists SELECT 'Artist ' || i, 1, 99, 3000 - i, 30, 0.1"
            " FROM range(2000) AS ranks(i)"
        )
    render(released, folder / "report.html")
    return released, (folder / "report.html").read_text("utf-8")


@pytest.fixture(params=["full", "empty", "one_person"])
def page(request: pytest.FixtureRequest) -> str:
    """Each report in turn."""
    found: tuple[Path, str] = request.getfixturevalue(request.param)
    return found[1]


class _Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that does not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute twice"
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def values(self, name: str) -> Iterator[str]:
        return (value or "" for found, value in self.attributes if found == name)


def test_a_page_is_well_formed(page: str) -> None:
    parsed = _Page(page)
    ids = list(parsed.values("id"))
    assert len(ids) == len(set(ids))
    referred = set(parsed.values("aria-labelledby"))
    assert referred
    assert referred <= set(ids)
    assert all(parsed.values("aria-label"))


def test_a_page_refers_to_nothing_and_runs_nothing(page: str) -> None:
    assert not re.search(r"https?:|@import|url\(|//[a-z]", page, re.IGNORECASE)
    parsed = _Page(page)
    assert parsed.tags.isdisjoint({"script", "link", "img", "iframe", "object", "use", "image"})
    names = {name for name, _ in parsed.attributes}
    assert names.isdisjoint({"src", "href", "xlink:href", "srcset", "data", "action"})
    assert not any(name.startswith("on") for name in names)
    assert "default-src 'none'; style-src 'unsafe-inline'" in parsed.values("content")


@pytest.mark.parametrize(
    "figures",
    [
        ("1,110", "9,900", "2 Mar 2026 to 11 Mar 2026", "1 Apr 2026, 09:30 UTC", "90", "12%"),
        ("1,010", "51", "of 10 covered"),
        ("Loudest", "3,210", "4,000", "101", "7%"),
        ("dub & bass", "4,321", "66", "5,000", "121", "8%"),
        ("PT", "5,678", "55", "6,000", "141", "9%"),
        ("headphones", "6,789", "44", "7,000", "161", "11%"),
        ("81", "2,345"),
        ("heavy, loyal", "33", "7,654", "181", "9.5"),
        ("2 Mar 2026 · 40", "50%"),
        ("Without genre", "37%"),
        ("Minimum of 20 listeners a row",),
    ],
    ids=lambda figures: figures[0],
)
def test_every_mart_is_told(full: tuple[Path, str], figures: tuple[str, ...]) -> None:
    pieces = {piece.strip() for piece in _Page(full[1]).pieces}
    told = pieces | {part for piece in pieces for part in piece.split(", released ")}
    assert set(figures) <= told
    assert "987,654 records" in full[1]


def test_charts_are_described_and_tables_say_the_same(full: tuple[Path, str]) -> None:
    labels = re.findall('role="img" aria-label="([^"]+)"', full[1])
    assert len(labels) == full[1].count('role="img"') == 8
    assert any("Busiest: Sun 23:00, 2,345 listens" in label for label in labels)
    assert full[1].count("<details>") == 8


def test_what_is_not_shown_is_told_from_zero(full: tuple[Path, str]) -> None:
    assert full[1].count("stroke-dasharray") == 2 * (168 - 2)
    assert "not shown" in full[1]
    assert "6 Mar 2026" not in full[1]


def test_names_are_text_and_nothing_else(full: tuple[Path, str]) -> None:
    parsed = _Page(full[1])
    assert parsed.tags.isdisjoint({"script", "img", "b"})
    text = "".join(parsed.pieces)
    for name in _HOSTILE[:4]:
        assert text.count(name) == 2, "in the chart and in the table"
    assert "1337" not in text


def test_long_names_are_cut_in_charts_only(full: tuple[Path, str]) -> None:
    assert full[1].count(_LONG) == 1
    assert "An Orchestra of Which" in full[1].replace(_LONG, "")


@given(st.text(max_size=80), st.integers(1, 40))
def test_a_cut_name_is_a_beginning_that_fits(name: str, width: int) -> None:
    short = cut(name, width)
    whole = cut(name, 1_000)
    assert short == whole or (short.endswith("…") and whole.startswith(short[:-1]))
    assert not re.search("[\x00-\x1f\u202a-\u202e\u2066-\u2069]", short)
    assert cut(short, width) == short


def test_an_empty_release_says_so(empty: tuple[Path, str]) -> None:
    parsed = _Page(empty[1])
    text = "".join(parsed.pieces)
    assert text.count("a row needs 20 listeners, and none here") == 9
    assert "No day can be shown" in text
    assert "svg" not in parsed.tags


def test_a_history_of_years_is_told_by_month(one_person: tuple[Path, str]) -> None:
    released, page = one_person
    shown = read(released).activity
    assert shown is not None
    assert (shown.unit, shown.days, len(shown.periods)) == ("month", 2_000, 132)
    assert sum(period.listens for period in shown.periods) == 9 * 2_000
    assert "Listens a month" in page
    assert ">Listeners a day</text>" not in page


def test_a_person_alone_is_compared_with_nobody(one_person: tuple[Path, str]) -> None:
    text = "".join(_Page(one_person[1]).pieces)
    assert "There is one listener here" in text
    assert "Regular and loyal, on 2,000 days." in text
    assert "the first 50 of 2,000" in text
    assert "nothing is held back" in text
    assert "under 5" in text


def test_totals_come_from_rounded_figures(
    full: tuple[Path, str], one_person: tuple[Path, str]
) -> None:
    def told(marts: Marts) -> dict[str, tuple[str, str]]:
        return {figure.label: (figure.value, figure.note) for figure in headline(marts)}

    many, one = told(read(full[0])), told(read(one_person[0]))
    assert many["Listeners"] == ("1,110", "to the nearest ten")
    assert many["Listens"] == ("9,900", "to the nearest hundred")
    assert one["Listeners"] == ("1", "on the busiest day")
    assert one["Listens"] == ("18,000", "on the days shown")


def test_the_same_release_gives_the_same_bytes(full: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "again.html"
    render(full[0], out)
    assert out.read_text("utf-8") == full[1]
    assert [path.name for path in out.parent.iterdir()] == ["again.html"]


def test_without_a_release_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError) as caught:
        render(tmp_path / "none.duckdb", tmp_path / "report.html")
    assert caught.value.remedy == "`sottovoce release` makes it."
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("content", [b"no database at all", None], ids=["garbage", "no-marts"])
def test_what_is_no_release_is_not_read(tmp_path: Path, content: bytes | None) -> None:
    released = tmp_path / "reporting.duckdb"
    if content is None:
        duckdb.connect(released).close()
    else:
        released.write_bytes(content)
    with pytest.raises(WarehouseError, match="cannot be read"):
        render(released, tmp_path / "report.html")


def test_a_report_that_cannot_be_written_is_an_error_of_the_warehouse(
    empty: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(WarehouseError, match="cannot be written"):
        render(empty[0], tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]

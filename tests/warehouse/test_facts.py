"""Partial sums against the recount, whatever the batches."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.warehouse.facts import COLUMNS, FACTS, merged, partials
from tests.warehouse import recount
from tests.warehouse.generate import SCHEMA, World, frame

_FEW = st.sampled_from
LISTENS = st.lists(
    st.fixed_dictionaries(
        {
            "listener": _FEW(["a" * 32, "b" * 32]),
            # Around midnight, the turn of a year and 1970, whole minutes.
            "started_at": st.builds(
                lambda day, minute: (day * 1_440 + minute) * 60_000,
                _FEW([-1, 0, 10_956, 20_453]),
                st.integers(0, 1_439),
            ),
            "ms_played": st.none() | st.integers(0, 2**31 - 1),
            "completion": st.none() | st.integers(0, 100),
            "counted": st.booleans(),
            "skipped": st.booleans(),
            "artist": _FEW(["", "one", "two"]),
            "genres": st.lists(_FEW(["x", "y", ""]), max_size=4),
            "country": _FEW([None, "", "NL"]),
            "device_class": _FEW([None, "phone"]),
        }
    ),
    max_size=30,
)


def test_every_fact_is_the_recount() -> None:
    listens = World(3).listens()
    assert _by_key(partials(frame(listens))) == recount.facts(listens)


@settings(deadline=None, max_examples=60)
@given(listens=LISTENS, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_batches_add_up_to_the_recount(listens: list[dict[str, Any]], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(listens)]
    parts = [partials(frame(listens[begin:end])) for begin, end in pairwise(edges)]
    expected = {table: rows for table, rows in recount.facts(listens).items() if rows}
    assert _by_key(merged(parts)) == expected


def test_sums_beyond_32_bits_are_exact() -> None:
    listen = World(1, plays=1).listens()[0]
    listens = [{**listen, "ms_played": 2**31 - 1}] * 5
    assert partials(frame(listens))["listener_day"]["ms_played"].to_list() == [5 * (2**31 - 1)]


def test_a_frame_without_rows_or_columns_has_no_facts() -> None:
    assert partials(pl.DataFrame()) == {}
    assert partials(pl.DataFrame(schema=SCHEMA)) == {}
    assert merged([]) == {}
    assert merged([{}, {}]) == {}


def test_columns_are_what_is_needed() -> None:
    listens = frame(World(2, plays=50).listens())
    needed = partials(listens.select(COLUMNS))
    assert {table: len(rows) for table, rows in needed.items()} == {
        table: len(rows) for table, rows in partials(listens).items()
    }


def _by_key(
    tables: Mapping[str, pl.DataFrame],
) -> dict[str, dict[tuple[object, ...], dict[str, int]]]:
    found: dict[str, dict[tuple[object, ...], dict[str, int]]] = {}
    for fact in FACTS:
        if fact.table not in tables:
            continue
        rows = found[fact.table] = {}
        for row in tables[fact.table].iter_rows(named=True):
            key = tuple(
                tuple(row[name]) if isinstance(row[name], list) else row[name] for name in fact.keys
            )
            assert key not in rows
            rows[key] = {name: row[name] for name in fact.sums}
    return found

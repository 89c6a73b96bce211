"""Bodies and schemas made to cost time or memory cost what their bytes are worth, no more."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import polars as pl
import pytest

from streams.avro import containers
from streams.avro.columns import MISMATCH, ColumnDecoder
from streams.avro.schemas import load
from streams.avro.wire import Group, split
from streams.errors import SchemaError
from streams.settings import load as load_settings
from tests.fuzz.writers import filled

PLAY = load(load_settings().schemas)["play"]
KEPT = ["user_id", "started_at", "artist.name", "genres"]


def record(*fields: tuple[str, Any], name: str = "R") -> dict[str, Any]:
    listed = [{"name": name, "type": avro_type} for name, avro_type in fields]
    return {"type": "record", "name": name, "fields": listed}


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size}


@pytest.mark.parametrize("size", [2**20 + 1, 2**40, 2**70])
@pytest.mark.parametrize("beside", [False, True])
def test_a_fixed_type_cannot_make_a_reader_set_aside_what_it_claims(
    size: int, beside: bool
) -> None:
    inner = record(("a", "string"), ("f", fixed(size)), name="Inner")
    schema = record(("r", ["null", inner])) if beside else record(("f", fixed(size)))
    with pytest.raises(SchemaError, match="fixed types take more than"):
        ColumnDecoder(schema, ["r.a" if beside else "f"])


def test_rows_of_large_fixed_types_are_read_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = counted_reads(monkeypatch)
    decoder = ColumnDecoder(record(("f", ["null", fixed(2**20)]), ("a", "string")), ["f", "a"])
    decoded = decoder.decode([b"\x00\x02a"] * 300)
    assert decoded.frame["a"].to_list() == ["a"] * 300
    assert max(reads) == containers._RESERVED // 2**20


def test_a_batch_of_poison_is_not_tried_body_by_body(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = counted_reads(monkeypatch)
    sound = list(filled(PLAY, 1, 200))
    short, long = [body[:-1] for body in sound], [body + b"\x00" for body in sound]
    decoded = ColumnDecoder(PLAY, KEPT).decode([*short, *sound, *long])
    assert decoded.rows.tolist() == list(range(200, 400))
    assert {detail for _, detail in decoded.bad} == {MISMATCH}
    assert len(reads) < len(decoded.bad) / 5


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that each of Polars' reads gave, as they happen; 0 for one that failed."""
    reads: list[int] = []
    real = pl.read_avro

    def counted(*arguments: Any, **options: Any) -> pl.DataFrame:
        reads.append(0)
        frame = real(*arguments, **options)
        reads[-1] = len(frame)
        return frame

    monkeypatch.setattr(pl, "read_avro", counted)
    return reads


def test_a_block_that_lies_about_its_size_is_judged_alike_alone_and_in_company() -> None:
    schema = record(("skipped", {"type": "array", "items": "string"}), ("a", "string"))
    decoder = ColumnDecoder(schema, ["a"])
    # Three items announced in 2 bytes: who leaps lands on the end, who reads does not.
    liar, sound = b"\x05\x04\x7f\x7f\x00\x02a", b"\x00\x02a"
    alone = decoder.decode([liar])
    together = decoder.decode([sound, liar, sound, b"\x7f", sound])
    assert [row for row, _ in together.bad] == [1, 3] if alone.bad else [3]
    assert together.frame["a"].to_list()[-1] == "a"


@pytest.mark.parametrize("branch", [b"\x02", b"\x03", b"\x04", b"\x05", b"\x7f", b"\x83\x00"])
def test_a_branch_a_union_lacks_is_judged_alike_alone_and_in_company(branch: bytes) -> None:
    decoder = ColumnDecoder(record(("n", ["null", "string"]), ("a", "string")), ["n", "a"])
    body, poison = branch + b"\x02n\x02a", b"\x7f"
    alone, together = decoder.decode([body]), decoder.decode([body, poison, b"\x00\x02a"])
    assert [row for row, _ in together.bad] == [0, 1] if alone.bad else [1]
    assert together.frame["n"].to_list()[:-1] == alone.frame["n"].to_list()


def test_records_of_small_items_are_let_go_of_one_by_one() -> None:
    items = {"type": "array", "items": record(("b", "boolean"), name="Item")}
    schema = record(("items", items), ("odd", ["null", "int", "string"]), ("a", "string"))
    size = 50_000
    body = b"\xa0\x8d\x06" + bytes(size) + b"\x00" + b"\x00" + b"\x02a"
    decoder = ColumnDecoder(schema, ["a"])
    tracemalloc.start()
    try:
        assert decoder.decode([body] * 12).frame["a"].to_list() == ["a"] * 12
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * size * 250, "more than two records were there at once"


@pytest.mark.parametrize("many", [2, 10])
def test_types_that_double_with_every_level_are_refused_at_once(many: int) -> None:
    nested: Any = record(("a", "int"), name="r0")
    for level in range(1, 60):
        again = [(f"x{number}", f"r{level - 1}") for number in range(1, many)]
        nested = record(("x0", nested), *again, name=f"r{level}")
    started = time.process_time()
    with pytest.raises(SchemaError, match="larger than"):
        ColumnDecoder(nested, [])
    assert time.process_time() - started < 5


def test_a_schema_nested_a_thousand_deep_is_refused() -> None:
    nested: Any = "int"
    for _ in range(1_000):
        nested = {"type": "array", "items": nested}
    with pytest.raises(SchemaError):
        ColumnDecoder(record(("a", nested)), [])


def test_a_group_is_parted_by_bytes_and_keeps_its_order() -> None:
    values: list[bytes | None] = [b"\x00\x00\x00\x00\x01" + bytes(size) for size in (3, 4, 9, 1, 1)]
    group = split(values).groups[1]
    parts = list(group.parts(7))
    assert [part.rows.tolist() for part in parts] == [[0, 1], [2], [3, 4]]
    assert [body for part in parts for body in part.bodies] == group.bodies
    assert list(Group(group.rows[:0], []).parts(7)) == []


@pytest.mark.parametrize("odd", [False, True])
def test_a_byte_that_is_no_boolean_is_not_taken_for_false(odd: bool) -> None:
    more = [("odd", ["null", "int", "string"])] if odd else []
    schema = record(
        ("private", "boolean"),
        ("maybe", ["null", "boolean"]),
        ("many", {"type": "array", "items": "boolean"}),
        *more,
    )
    end = b"\x00" if odd else b""
    bodies = [
        b"\x01\x02\x00\x04\x00\x01\x00",
        b"\x02\x00\x00",
        b"\x00\x02\x07\x00",
        b"\x00\x00\x02\x80\x00",
        b"\x00\x00\x00",
    ]
    decoded = ColumnDecoder(schema, ["private", "maybe", "many"]).decode([b + end for b in bodies])
    assert decoded.frame.rows() == [(True, False, [False, True]), (False, None, [])]
    assert decoded.bad == [
        (1, "private is no boolean"),
        (2, "maybe is no boolean"),
        (3, "many is no boolean"),
    ]

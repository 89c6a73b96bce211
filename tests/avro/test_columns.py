"""The decoder against fastavro: random schemas and records, damaged bodies, hostile schemas."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streams.avro.columns import MISMATCH, ColumnDecoder, Decoded
from streams.errors import SchemaError

SCHEMAS = Path(__file__).parents[2] / "schemas"
PRIMITIVES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "boolean": (pl.Boolean(), st.booleans()),
    "int": (pl.Int32(), st.integers(-(2**31), 2**31 - 1)),
    "long": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pl.Float32(), st.floats(width=32)),
    "double": (pl.Float64(), st.floats()),
    "string": (pl.String(), st.text(max_size=5)),
    "bytes": (pl.Binary(), st.binary(max_size=5)),
}
LOGICAL = [
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "int", "logicalType": "date"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
]


class Builder:
    """Draws a schema; ``named`` are the types defined so far, by name."""

    def __init__(self, draw: st.DrawFn, unions: bool) -> None:
        self.draw = draw
        self.named: dict[str, dict[str, Any]] = {}
        self.serial = 0
        self.composites = ["record", "array", "map", "nullable", "enum", "fixed", "reference"]
        if unions:
            self.composites.append("union")

    def name(self) -> str:
        self.serial += 1
        return f"n{self.serial}"

    def record(self, depth: int) -> dict[str, Any]:
        name = self.name()
        size = self.draw(st.integers(1, 4))
        fields = [{"name": self.name(), "type": self.type(depth)} for _ in range(size)]
        record = {"type": "record", "name": name, "fields": fields}
        self.named[name] = record
        return record

    def type(self, depth: int) -> Any:
        plain = [*PRIMITIVES, *LOGICAL, "null"]
        if depth <= 0:
            return self.draw(st.sampled_from(plain))
        kind = self.draw(st.sampled_from([*plain, *self.composites, *self.composites]))
        return getattr(self, kind)(depth - 1) if kind in self.composites else kind

    def solid(self, depth: int) -> Any:
        """A type that takes bytes."""
        drawn = self.type(depth)
        return drawn if takes_bytes(drawn, self.named) else "long"

    def array(self, depth: int) -> Any:
        return {"type": "array", "items": self.solid(depth)}

    def map(self, depth: int) -> Any:
        return {"type": "map", "values": self.type(depth)}

    def nullable(self, depth: int) -> Any:
        drawn = self.type(depth)
        if isinstance(drawn, list) or drawn == "null":
            return drawn
        return self.draw(st.sampled_from([["null", drawn], [drawn, "null"]]))

    def union(self, depth: int) -> Any:
        some = st.lists(st.sampled_from(list(PRIMITIVES)), min_size=1, max_size=3, unique=True)
        branches: list[Any] = self.draw(some)
        return [*branches, self.record(depth)]

    def enum(self, _depth: int) -> Any:
        name = self.name()
        self.named[name] = {"type": "enum", "name": name, "symbols": ["A", "B", "C"]}
        return self.named[name]

    def fixed(self, _depth: int) -> Any:
        name = self.name()
        size = self.draw(st.integers(1, 4))
        self.named[name] = {"type": "fixed", "name": name, "size": size}
        return self.named[name]

    def reference(self, depth: int) -> Any:
        return self.draw(st.sampled_from(list(self.named))) if self.named else self.enum(depth)


def takes_bytes(schema: Any, named: dict[str, Any]) -> bool:
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict) and schema["type"] == "record":
        return any(takes_bytes(field["type"], named) for field in schema["fields"])
    return bool(schema != "null")


def value(draw: st.DrawFn, schema: Any, named: dict[str, Any]) -> Any:
    """A value of the schema, as fastavro takes it."""
    if isinstance(schema, list):
        return value(draw, draw(st.sampled_from(schema)), named)
    if isinstance(schema, str):
        if schema in named:
            return value(draw, named[schema], named)
        return None if schema == "null" else draw(PRIMITIVES[schema][1])
    few = range(draw(st.integers(0, 3)))
    match schema["type"]:
        case "record":
            return {f["name"]: value(draw, f["type"], named) for f in schema["fields"]}
        case "array":
            return [value(draw, schema["items"], named) for _ in few]
        case "map":
            return {f"k{i}": value(draw, schema["values"], named) for i in few}
        case "enum":
            return draw(st.sampled_from(schema["symbols"]))
        case "fixed":
            return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
    return value(draw, schema["type"], named)


def physical(schema: Any) -> Any:
    """The schema without logical types: the same bytes, plain values."""
    if isinstance(schema, dict):
        return {k: physical(v) for k, v in schema.items() if k != "logicalType"}
    return [physical(item) for item in schema] if isinstance(schema, list) else schema


def columns(
    schema: Any, named: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, pl.DataType]]:
    """Every leaf that can be a column, with its type: what the decoder is asked for."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, list) and len(schema) == 2 and "null" in schema:
        schema = schema[1 - schema.index("null")]
        schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict) and schema["type"] == "record":
        for field in schema["fields"]:
            yield from columns(field["type"], named, f"{path}.{field['name']}".strip("."))
    elif (dtype := column_type(schema, named)) is not None:
        yield path, dtype


def column_type(schema: Any, named: dict[str, Any]) -> pl.DataType | None:
    if isinstance(schema, list):
        return None
    if isinstance(schema, str):
        if schema in named:
            return column_type(named[schema], named)
        return PRIMITIVES[schema][0] if schema in PRIMITIVES else pl.Null()
    match schema["type"]:
        case "enum":
            return pl.String()
        case "fixed":
            return pl.Binary()
        case "array":
            items = schema["items"]
            if isinstance(items, list) and len(items) == 2 and "null" in items:
                items = items[1 - items.index("null")]
            inner = column_type(items, named)
            return None if inner is None or isinstance(inner, pl.List) else pl.List(inner)
        case "map" | "record":
            return None
    return column_type(schema["type"], named)


@st.composite
def written(draw: st.DrawFn, unions: bool) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """A schema, its named types, and bodies that fastavro wrote with it."""
    builder = Builder(draw, unions)
    schema = builder.record(3)
    bodies = [
        encode(schema, value(draw, schema, builder.named)) for _ in range(draw(st.integers(0, 5)))
    ]
    return schema, builder.named, bodies


def encode(schema: Any, record: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(physical(schema)), record)
    return stream.getvalue()


def expected(schema: Any, bodies: list[bytes], path: str, dtype: pl.DataType) -> pl.Series:
    """The column as fastavro reads it."""
    parsed = fastavro.parse_schema(physical(schema))
    values = []
    for body in bodies:
        found: Any = fastavro.schemaless_reader(io.BytesIO(body), parsed)
        for step in path.split("."):
            found = None if found is None else found[step]
        values.append(found)
    return pl.Series(path, values, dtype)


def check(schema: Any, named: dict[str, Any], bodies: list[bytes]) -> Decoded:
    wanted = dict(columns(schema, named))
    decoded = ColumnDecoder(copy.deepcopy(schema), [*wanted, "no.such"]).decode(bodies)
    assert decoded.bad == []
    assert decoded.rows.tolist() == list(range(len(bodies)))
    assert decoded.frame.columns == [*wanted, "no.such"]
    for path, dtype in wanted.items():
        assert decoded.frame[path].dtype == dtype
        assert decoded.frame[path].equals(expected(schema, bodies, path, dtype)), path
    assert decoded.frame["no.such"].dtype == pl.Null
    return decoded


@given(written(unions=False))
@settings(deadline=None, max_examples=100)
def test_what_polars_can_read_equals_what_fastavro_reads(case: Any) -> None:
    decoded = check(*case)
    assert not decoded.fallback


@given(written(unions=True))
@settings(deadline=None, max_examples=100)
def test_with_unions_too(case: Any) -> None:
    check(*case)


PLAY = json.loads((SCHEMAS / "play.avsc").read_text())
PLAY_LEAVES = dict(columns(PLAY, {}))
KEPT = [path for path in PLAY_LEAVES if not path.startswith(("ip", "location.l", "device.serial"))]
UNION = {  # a field that makes the decoder go record by record
    "name": "odd",
    "type": ["null", "string", "long"],
}


def play(number: int) -> dict[str, Any]:
    """A play whose every text names its field and the play."""
    rng = random.Random(number)
    record: dict[str, Any] = {}
    for path, dtype in PLAY_LEAVES.items():
        found: Any = {
            pl.String(): f"<{path} {number}>",
            pl.Boolean(): rng.random() < 0.5,
            pl.Float64(): rng.uniform(-90, 90),
            pl.List(pl.String()): [f"<{path} {number}.{i}>" for i in range(rng.randint(0, 3))],
        }.get(dtype, rng.randrange(2**31))
        *outer, name = path.split(".")
        holder = record
        for step in outer:
            holder = holder.setdefault(step, {})
        optional = path not in ("event_id", "user_id", "started_at", "artist.name", "genres")
        keep = not optional or path == "private_session" or rng.random() < 0.7
        holder[name] = found if keep else None
    return record


def damaged(rng: random.Random, body: bytes) -> bytes:
    """The body with a bit flipped, a byte changed, a few put in or taken out, or cut short."""
    at, some = rng.randrange(len(body)), rng.randint(1, 3)
    return rng.choice(
        [
            body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :],
            body[:at] + rng.randbytes(1) + body[at + 1 :],
            body[:at] + rng.randbytes(some) + body[at:],
            body[:at] + body[at + some :],
            body[:at],
            body + rng.randbytes(some),
        ]
    )


def outcome(decoded: Decoded) -> dict[int, Any]:
    """What became of each body."""
    good = dict(zip(decoded.rows.tolist(), decoded.frame.rows(), strict=True))
    assert good.keys().isdisjoint(dict(decoded.bad))
    assert decoded.bad == sorted(decoded.bad)
    return {**good, **dict(decoded.bad)}


@pytest.mark.parametrize("record_by_record", [False, True])
def test_damage_stays_within_the_damaged_body(record_by_record: bool) -> None:
    schema = copy.deepcopy(PLAY)
    if record_by_record:
        schema["fields"].append({**UNION, "default": None})
    decoder = ColumnDecoder(schema, KEPT)
    whole = [encode(schema, play(number)) for number in range(24)]
    undamaged = outcome(decoder.decode(whole))
    for seed in range(30):
        rng = random.Random(seed)
        victims = set(rng.sample(range(24), rng.randint(1, 5)))
        bodies = [damaged(rng, body) if i in victims else body for i, body in enumerate(whole)]
        together = outcome(decoder.decode(bodies))
        assert len(together) == len(bodies)
        for i, body in enumerate(bodies):
            if i not in victims:
                assert together[i] == undamaged[i]
            elif body != whole[i]:
                assert repr(together[i]) == repr(outcome(decoder.decode([body]))[0])


@given(written(unions=True), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_damage_to_any_schema_crashes_nothing_and_spares_the_others(
    case: Any, rng: random.Random
) -> None:
    schema, named, bodies = case
    bodies = [body for body in bodies if body]
    assume(bodies)
    decoder = ColumnDecoder(schema, [*dict(columns(schema, named)), "no.such"])
    before = outcome(decoder.decode(bodies))
    victim = rng.randrange(len(bodies))
    bodies[victim] = damaged(rng, bodies[victim])
    after = outcome(decoder.decode(bodies))
    del before[victim]
    assert {i: repr(after[i]) for i in before} == {i: repr(row) for i, row in before.items()}
    assert repr(after[victim]) == repr(outcome(decoder.decode([bodies[victim]]))[0])


def test_one_bad_body_makes_the_batch_a_fallback() -> None:
    bodies = [encode(PLAY, play(number)) for number in range(10)]
    decoder = ColumnDecoder(PLAY, KEPT)
    assert not decoder.decode(bodies).fallback
    bodies[3] = bodies[3][:-1]
    decoded = decoder.decode(bodies)
    assert decoded.fallback
    assert decoded.bad == [(3, MISMATCH)]
    assert decoded.rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert decoded.frame["user_id"].to_list() == [f"<user_id {n}>" for n in decoded.rows]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_batch_of_only_bad_bodies_has_empty_columns_of_the_right_type(count: int) -> None:
    decoder = ColumnDecoder(PLAY, KEPT)
    decoded = decoder.decode([b"\x7f"] * count)
    assert decoded.bad == [(row, MISMATCH) for row in range(count)]
    assert decoded.frame.schema == decoder.decode([encode(PLAY, play(1))]).frame.schema
    assert len(decoded.frame) == len(decoded.rows) == 0


def test_a_body_that_swallows_its_neighbour_is_bad_and_the_neighbour_good() -> None:
    text = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    decoder = ColumnDecoder(text, ["a"])
    greedy = b"\x2a"  # claims 21 bytes, what nonce and neighbour have
    decoded = decoder.decode([greedy, encode(text, {"a": "next"}), greedy])
    assert [row for row, _ in decoded.bad] == [0, 2]
    assert decoded.frame["a"].to_list() == ["next"]


def zigzag(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema("long"), number)
    return stream.getvalue()


HUGE = [zigzag(2**62), zigzag(-(2**62)), zigzag(-(2**63)), zigzag(2**31), b"\xff" * 11]
TYPES = [
    "string",
    "bytes",
    {"type": "array", "items": "string"},
    {"type": "array", "items": ["null", "long"]},
    {"type": "array", "items": {"type": "array", "items": "double"}},
    {"type": "map", "values": "null"},
    {"type": "enum", "name": "E", "symbols": ["A", "B"]},
]


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("avro_type", TYPES, ids=str)
@pytest.mark.timeout(20)
def test_lengths_that_lie_make_a_bad_row_at_once(avro_type: Any, odd: bool) -> None:
    fields = [{"name": "a", "type": avro_type}, {"name": "b", "type": "string"}]
    schema = {"type": "record", "name": "R", "fields": [*fields, UNION] if odd else fields}
    wanted = [path for path, _ in columns(schema, {})]
    honest = encode(
        schema,
        {
            "a": {"array": [], "map": {}, "enum": "A"}.get(
                avro_type["type"] if isinstance(avro_type, dict) else "",
                b"" if avro_type == "bytes" else "",
            ),
            "b": "b",
            "odd": None,
        },
    )
    bodies = [huge + bytes(tail) for huge in HUGE for tail in (0, 1, 40)]
    decoded = ColumnDecoder(schema, wanted).decode([honest, *bodies, honest])
    assert decoded.rows.tolist()[0] == 0
    assert decoded.rows.tolist()[-1] == len(bodies) + 1
    assert set(decoded.frame["b"].to_list()) <= {"b", ""}


def ints(avro_type: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "a", "type": avro_type}]}


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("schema", "wire", "good", "bad", "fault"),
    [
        (ints("int"), ints("long"), [2**31 - 1, -(2**31)], [2**31, -(2**31) - 1], "32-bit"),
        (ints(ENUM), ints("long"), [0, 1], [2, -1], "symbol"),
        (ints(["null", ENUM]), ints(["null", "long"]), [None, 1], [2, -1], "symbol"),
        (
            ints({"type": "array", "items": ["null", "int"]}),
            ints({"type": "array", "items": ["null", "long"]}),
            [[], [None, 5]],
            [[5, 2**31], [-(2**40), None]],
            "32-bit",
        ),
        (
            ints({"type": "array", "items": ENUM}),
            ints({"type": "array", "items": "long"}),
            [[], [1, 0]],
            [[0, 2], [-1]],
            "symbol",
        ),
    ],
)
@pytest.mark.parametrize("odd", [False, True])
def test_numbers_outside_their_type_are_bad_rows(
    schema: Any, wire: Any, good: list[Any], bad: list[Any], fault: str, odd: bool
) -> None:
    schema, wire = copy.deepcopy(schema), copy.deepcopy(wire)
    if odd:
        schema["fields"].append(UNION)
        wire["fields"].append(UNION)
    bodies = [encode(wire, {"a": value, "odd": None}) for value in [*bad, *good]]
    decoded = ColumnDecoder(schema, ["a"]).decode(bodies)
    assert [row for row, _ in decoded.bad] == list(range(len(bad)))
    assert all(detail.startswith("a is no ") and fault in detail for _, detail in decoded.bad)
    symbols = ENUM["symbols"] if fault == "symbol" else None
    named = expected(schema, bodies[len(bad) :], "a", decoded.frame["a"].dtype)
    assert decoded.frame["a"].equals(named), symbols


@pytest.mark.parametrize("odd", [False, True])
def test_text_that_is_not_utf8_is_bad_where_wanted_and_ignored_elsewhere(odd: bool) -> None:
    fields: list[Any] = [{"name": name, "type": "string"} for name in "ab"]
    schema = {"type": "record", "name": "R", "fields": [*fields, UNION] if odd else fields}
    tail = b"\x00" if odd else b""
    bodies = [b"\x02\xff\x02b" + tail, b"\x02a\x02\xff" + tail, b"\x02a\x02b" + tail]
    decoded = ColumnDecoder(schema, ["a"]).decode(bodies)
    assert decoded.bad == [(0, MISMATCH)]
    assert decoded.frame["a"].to_list() == ["a", "a"]


def nested(depth: int) -> Any:
    return {"type": "array", "items": nested(depth - 1)} if depth else "long"


def doubling(depth: int) -> list[Any]:
    """Records each of which holds the one before twice: small to write, 2**depth leaves."""
    fields: list[Any] = [{"name": "x0", "type": "long"}]
    for level in range(depth):
        record = {"type": "record", "name": f"R{level}", "fields": fields}
        fields = [{"name": "a", "type": record}, {"name": "b", "type": f"R{level}"}]
    return fields


@pytest.mark.parametrize(
    ("fields", "wanted", "problem"),
    [
        ([{"name": "a", "type": {"type": "array", "items": "null"}}], [], "no bytes"),
        ([{"name": "a", "type": ["null", "R"]}], [], "contains itself"),
        ([{"name": "a", "type": nested(500)}], [], "deeper"),
        (doubling(40), [], "larger"),
        ([{"name": "a", "type": "Unknown"}], [], "usable"),
        ([{"name": "a", "type": {"type": "map", "values": "long"}}], ["a"], "map"),
        ([{"name": "a", "type": ["null", "long", "string"]}], ["a"], "union"),
        ([{"name": "a", "type": nested(2)}], ["a"], "array of array"),
        ([{"name": "a", "type": {"type": "fixed", "name": "F", "size": 0}}], ["a"], "fixed"),
        ([{"name": "a", "type": {"type": "record", "name": "S", "fields": []}}], ["a"], "record"),
    ],
)
def test_schemas_that_cannot_be_decoded_are_refused(
    fields: list[Any], wanted: list[str], problem: str
) -> None:
    schema = {"type": "record", "name": "R", "fields": fields}
    with pytest.raises(SchemaError, match=problem):
        ColumnDecoder(schema, wanted)


def test_a_schema_that_is_no_record_is_refused() -> None:
    with pytest.raises(SchemaError, match="not a record"):
        ColumnDecoder({"type": "array", "items": "long"}, [])


def test_absent_leaves_are_listed_and_null() -> None:
    decoder = ColumnDecoder(PLAY, ["user_id", "track.bpm", "user_id.x"])
    assert decoder.absent == ("track.bpm", "user_id.x")
    frame = decoder.decode([encode(PLAY, play(1))]).frame
    assert frame.columns == ["user_id", "track.bpm", "user_id.x"]
    assert frame["track.bpm"].to_list() == [None]


def test_no_value_shows_in_a_repr() -> None:
    assert "user_id 7" not in repr(ColumnDecoder(PLAY, KEPT).decode([encode(PLAY, play(7))]))

"""What a writer's schema may change and may not: it can tighten, never loosen; unknown leaves stay
out, and what cannot be planned stops the schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from streams.errors import PolicyError, SchemaError
from streams.privacy import policy
from streams.privacy.plan import Plan
from streams.privacy.pseudonyms import pseudonyms
from streams.privacy.treatments import Generalize, Keep, TruncatePoint, TruncateTime
from tests.privacy import worlds
from tests.privacy.worlds import GATE_FIELDS, GATE_PATHS, compiled, listen, play

OPEN = {"confluent:tags": ["OPEN"]}
TEXT = ["null", "string"]
NAME = {"name": "name", "type": TEXT, **OPEN}
LISTEN_NAME = listen({"name": ("name", TEXT)})


def names(plan: Plan, *values: object) -> list[object]:
    frame = pl.DataFrame({"name": pl.Series(values, dtype=pl.String)})
    return plan.treat(frame)["name"].to_list()


def test_a_writer_that_leaves_tags_out_is_treated_by_the_committed_ones() -> None:
    bare = play({"name": "name", "type": TEXT})
    hidden = play({"name": "name", "type": TEXT, "confluent:tags": ["SECRET"]})
    assert names(compiled(bare, LISTEN_NAME, committed=play(NAME)), "a") == ["a"]
    assert names(compiled(bare, LISTEN_NAME, committed=hidden), "a") == [None]


@pytest.mark.parametrize(("tag", "out"), [("OPEN", "a"), ("SECRET", None), ("WHO", "hashed")])
def test_a_writer_can_tighten(tag: str, out: str | None) -> None:
    stricter = play({"name": "name", "type": TEXT, "confluent:tags": [tag]})
    expected = pseudonyms(worlds.KEY, "WHO").hex("a") if out == "hashed" else out
    assert names(compiled(stricter, LISTEN_NAME, committed=play(NAME)), "a") == [expected]
    outside = compiled(play(NAME), LISTEN_NAME, external={"x.Play.name": [tag]})
    assert names(outside, "a") == [expected]


def test_a_writer_cannot_loosen() -> None:
    committed = play({"name": "name", "type": TEXT, "confluent:tags": ["SECRET"]})
    plan = compiled(play(NAME), LISTEN_NAME, committed=committed, external={"**": ["OPEN"]})
    assert names(plan, "a") == [None]
    assert "name" not in plan.wanted
    assert {leaf.path: leaf.treatment for leaf in plan.treated}["name"] == "drop"


def test_a_tag_that_the_policy_does_not_have_stops_the_schema() -> None:
    for writer, external in (
        (play({**NAME, "confluent:tags": ["PII"]}), None),
        (play(NAME), {"**.name": ["PII"]}),
    ):
        with pytest.raises(PolicyError, match="PII"):
            compiled(writer, LISTEN_NAME, committed=play(NAME), external=external)


def test_a_treatment_that_no_longer_fits_stops_the_schema() -> None:
    rules = worlds.policy({**worlds.TREATMENTS, "POINT": TruncatePoint(1)})
    writer = play({**NAME, "confluent:tags": ["POINT"]})
    with pytest.raises(PolicyError, match="truncate does not take"):
        compiled(writer, listen({}), committed=play(NAME), rules=rules)


NODE: dict[str, Any] = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "v", "type": "string"}, {"name": "next", "type": ["null", "Node"]}],
}
UNKNOWN = {
    "text": ("string", ["new"]),
    "a tag nobody knows": ({"type": "string", "confluent:tags": ["PII"]}, ["new"]),
    "recursive": (NODE, ["new.v", "new.next"]),
    "map": ({"type": "map", "values": "string"}, ["new"]),
    "map of records": ({"type": "map", "values": NODE}, ["new{}.v", "new{}.next"]),
    "union": (["string", "long"], ["new"]),
    "fixed": ({"type": "fixed", "name": "F", "size": 4}, ["new"]),
    "nested arrays": ({"type": "array", "items": {"type": "array", "items": "long"}}, ["new"]),
    "null": ("null", ["new"]),
}


@pytest.mark.parametrize(("kind", "paths"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_leaf_is_counted_and_never_decoded(kind: object, paths: list[str]) -> None:
    plan = compiled(play(NAME, {"name": "new", "type": kind}), LISTEN_NAME, committed=play(NAME))
    assert list(plan.unknown) == paths
    assert set(plan.wanted) <= {"name"} | GATE_PATHS
    assert not {leaf.path for leaf in plan.treated} & set(paths)
    assert names(plan, "a") == ["a"]


def test_an_unknown_leaf_beside_known_ones_in_a_record() -> None:
    def device(*names: str) -> dict[str, object]:
        fields = [{"name": name, "type": "string", **OPEN} for name in names]
        return {"name": "device", "type": {"type": "record", "name": "D", "fields": fields}}

    listens = listen({"name": ("device.name", TEXT)})
    plan = compiled(play(device("name", "mac")), listens, committed=play(device("name")))
    assert plan.unknown == ("device.mac",)
    assert "device.name" in plan.wanted


def typed(kind: object, **more: object) -> dict[str, object]:
    return play({"name": "n", "type": kind, **OPEN, **more})


PROMOTED = [("int", "long"), ("float", "double"), ("long", "long"), ("string", "string")]


@pytest.mark.parametrize(("sent", "known"), PROMOTED)
@pytest.mark.parametrize("sent_nullable", [True, False])
@pytest.mark.parametrize("known_nullable", [True, False])
def test_promotion_and_nullability(
    sent: str, known: str, sent_nullable: bool, known_nullable: bool
) -> None:
    writer = typed(["null", sent] if sent_nullable else sent)
    committed = typed([known, "null"] if known_nullable else known)
    plan = compiled(writer, listen({"n": ("n", ["null", known])}), committed=committed)
    value: object = "1" if sent == "string" else 1
    column = plan.treat(pl.DataFrame({"n": pl.Series([value, None])}))["n"]
    assert column.to_list() == [value, None]
    assert column.dtype == {"long": pl.Int64, "double": pl.Float64, "string": pl.String}[known]


STAMP = {"type": "long", "logicalType": "timestamp-millis"}
RESHAPED: dict[str, tuple[object, object]] = {
    "narrowed": ("long", "int"),
    "to a float": ("int", "double"),
    "text to bytes": ("bytes", "string"),
    "text to enum": ({"type": "enum", "name": "E", "symbols": ["X"]}, "string"),
    "number to text": ("string", "long"),
    "to a union": (["string", "long"], "string"),
    "to an array": ({"type": "array", "items": "string"}, "string"),
    "to an array of other items": (
        {"type": "array", "items": ["null", "string"]},
        {"type": "array", "items": "string"},
    ),
    "to a record": (NODE, "string"),
    "to a record in an array": ({"type": "array", "items": NODE}, "string"),
    "to a record among others": (["string", NODE], "string"),
    "from a record": ("string", {**NODE, "fields": NODE["fields"][:1]}),
    "recursive": (["null", "Play"], "string"),
    "to another unit": ({"type": "long", "logicalType": "timestamp-micros"}, STAMP),
    "from no unit": (STAMP, "long"),
}


@pytest.mark.parametrize(("sent", "known"), RESHAPED.values(), ids=RESHAPED)
def test_a_known_leaf_of_another_shape_stops_the_schema(sent: object, known: object) -> None:
    with pytest.raises(SchemaError, match="Play: n"):
        compiled(typed(sent), listen({}), committed=typed(known))


def test_a_unit_may_be_left_out() -> None:
    rules = worlds.policy({**worlds.TREATMENTS, "OPEN": TruncateTime("second")})
    plan = compiled(
        typed("long"), listen({"n": ("n", ["null", STAMP])}), committed=typed(STAMP), rules=rules
    )
    assert plan.treat(pl.DataFrame({"n": [1_999]}))["n"].to_list() == [1_000]


GENRES: worlds.Json = {
    "name": "genres",
    "type": {"type": "array", "items": "string"},
    "default": [],
    "sottovoce:from": "genres",
}


def with_genres(*fields: worlds.Json) -> worlds.Json:
    schema = listen({})
    return {**schema, "fields": [*schema["fields"], GENRES, *fields]}  # type: ignore[misc]


def test_what_the_writer_does_not_send_takes_the_listen_schemas_default() -> None:
    committed = play(NAME, {"name": "genres", "type": {"type": "array", "items": "string"}, **OPEN})
    name: worlds.Json = {
        "name": "name",
        "type": TEXT,
        "default": None,
        "sottovoce:from": "name",
    }
    plan = compiled(play(), with_genres(name), committed=committed)
    frame = pl.DataFrame({"private_session": [False, False]})
    treated = plan.treat(frame)
    assert treated["genres"].to_list() == [[], []]
    assert treated["name"].to_list() == [None, None]
    assert treated.schema["genres"] == pl.List(pl.String())


def test_a_null_list_becomes_the_default() -> None:
    kind = ["null", {"type": "array", "items": "string"}]
    schema = play({"name": "genres", "type": kind, **OPEN})
    plan = compiled(schema, with_genres())
    assert plan.required == ()
    frame = pl.DataFrame({"genres": [["a"], None]}, schema={"genres": pl.List(pl.String())})
    assert plan.treat(frame)["genres"].to_list() == [["a"], []]


@pytest.mark.parametrize(
    ("writer", "committed", "listens"),
    [
        (play(), play(NAME), listen({"name": ("name", "string")})),  # absent
        (play(NAME), play(NAME), listen({"name": ("name", "string"), "x": ("nobody", TEXT)})),
        (
            play({**NAME, "confluent:tags": ["SECRET"]}),
            play(NAME),
            listen({"name": ("name", "string")}),  # dropped
        ),
        (play(NAME), play(NAME), listen({"name": ("name", "long")})),  # another type
        (play(NAME), play(NAME), listen({"name": ("name", {"type": "array", "items": "string"})})),
        ({"type": "string"}, play(NAME), listen({})),
        (play({"name": "name", "type": "Missing"}), play(NAME), listen({})),
    ],
)
def test_what_cannot_become_a_listen_is_unplannable(
    writer: object, committed: object, listens: worlds.Json
) -> None:
    with pytest.raises(SchemaError):
        compiled(writer, listens, committed=committed)


def test_a_required_field_does_not_take_a_treatment_that_can_empty_it() -> None:
    rules = worlds.policy({**worlds.TREATMENTS, "OPEN": TruncatePoint(1)})
    with pytest.raises(PolicyError, match="null"):
        compiled(typed("double"), listen({"n": ("n", "double")}), rules=rules)
    compiled(typed("double"), listen({"n": ("n", ["null", "double"])}), rules=rules)


def test_required_leaves_may_be_null_in_a_writers_schema_and_are_named() -> None:
    plan = compiled(play(NAME), listen({"name": ("name", "string"), "again": ("name", "string")}))
    assert plan.required == ("name",)


@pytest.mark.parametrize("path", sorted(GATE_PATHS))
def test_play_must_have_what_the_gate_reads(path: str) -> None:
    name = path.partition(".")[0]
    fields = [field for field in GATE_FIELDS if field["name"] != name]
    committed = {**play(), "fields": fields}
    with pytest.raises(SchemaError, match=path):
        compiled(committed, listen({}), committed=committed)


def test_nothing_but_the_columns_of_a_listen_comes_out() -> None:
    plan = compiled(play(NAME), LISTEN_NAME)
    frame = pl.DataFrame({"name": ["a"], "ip": ["192.0.2.1"], "skipped": ["raw"]})
    assert plan.treat(frame).columns == ["name", "epoch"]


HOSTILE: dict[str, Callable[[], pl.DataFrame]] = {
    "too large for an int": lambda: pl.DataFrame({"n": [2**40, 1]}),
    "lowest of all": lambda: pl.DataFrame({"n": [-(2**63), 1]}),
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("treatment", [Keep(), TruncateTime("day")])
def test_no_number_makes_a_plan_fail(
    frame: Callable[[], pl.DataFrame], treatment: Keep | TruncateTime
) -> None:
    rules = worlds.policy({**worlds.TREATMENTS, "OPEN": treatment})
    plan = compiled(typed("int"), listen({"n": ("n", ["null", "int"])}), rules=rules)
    assert plan.treat(frame())["n"][0] is None


def test_lookups_come_from_the_policy() -> None:
    audience = policy.Audience(
        "analytics",
        "Analysts",
        "For tests.",
        {**worlds.TREATMENTS, "OPEN": Generalize("c", "other")},
    )
    kafka = {"key": "drop", "headers": "drop"}
    rules = policy.Policy({"analytics": audience}, {"c": {"x": ("ab",)}}, kafka)
    assert names(compiled(play(NAME), LISTEN_NAME, rules=rules), "CABLE", "q", None) == [
        "x",
        "other",
        None,
    ]

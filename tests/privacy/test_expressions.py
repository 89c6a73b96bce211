"""Every treatment's expression against a plain function of one value."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.errors import PolicyError
from streams.privacy import expressions
from streams.privacy.expressions import COLUMN_TYPES
from streams.privacy.keys import PseudonymKey
from streams.privacy.policy import Decision
from streams.privacy.tags import Leaf
from streams.privacy.treatments import (
    UNIT_MS,
    VARIANTS,
    BucketEdges,
    BucketWidth,
    Drop,
    Generalize,
    Keep,
    Pseudonymize,
    Treatment,
    TruncateAddress,
    TruncatePoint,
    TruncateTime,
)

KEY = PseudonymKey("analytics", 1, bytes(range(32)))
LOOKUPS = {"class": {"phones": ("Headphone", "OVER-EAR"), "phone": ("phone",), "ß": ("ẞ", "Σ")}}

ints = st.integers(-(2**31), 2**31 - 1)
longs = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
words = st.lists(st.sampled_from(["headPhone", "Over-ear", "PHONE", "ς", "Σ", "ß", "x", " "]))
hundredths = st.integers(-40_000, 40_000).map(lambda n: n / 100)
floats = st.floats(-400, 400) | hundredths | hundredths.map(lambda x: math.nextafter(x, -math.inf))


def treated(treatment: Treatment, kind: str, values: list[object]) -> list[object]:
    leaf = Leaf("a.b", kind, frozenset({"TAG"}))
    expression = expressions.expression(Decision(treatment, "TAG"), leaf, LOOKUPS, KEY)
    frame = pl.DataFrame({"a.b": pl.Series(values, dtype=COLUMN_TYPES[kind])})
    column = frame.select(expression.alias("out"))["out"]
    given_type = expressions.output_type(treatment, leaf)
    assert given_type is not None
    assert column.dtype == COLUMN_TYPES[given_type]
    return column.to_list()


def each(values: list[object], oracle: Callable[[object], object]) -> list[object]:
    return [None if value is None else oracle(value) for value in values]


def column_of(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(st.none() | values, max_size=30)


BY_KIND: dict[str, st.SearchStrategy[object]] = {
    "string": texts,
    "enum": texts,
    "int": ints,
    "long": longs,
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "array<string>": st.lists(texts, max_size=3),
}


@pytest.mark.parametrize("kind", COLUMN_TYPES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_keep(kind: str, data: st.DataObject) -> None:
    values = data.draw(column_of(BY_KIND[kind]))
    assert treated(Keep(), kind, values) == values


@pytest.mark.parametrize("kind", ["string", "enum", "int", "long"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pseudonymize(kind: str, data: st.DataObject) -> None:
    values = data.draw(column_of(BY_KIND[kind]))

    def digest(value: object) -> bytes:
        return hmac.digest(KEY.domain("TAG"), str(value).encode(), "sha256")

    def short(value: object) -> bytes:
        return blake2b(str(value).encode(), digest_size=8, key=KEY.domain("TAG")).digest()

    assert treated(Pseudonymize("hex"), kind, values) == each(
        values, lambda v: digest(v).hex()[:32]
    )
    assert treated(Pseudonymize("int64"), kind, values) == each(
        values, lambda v: int.from_bytes(short(v), "big", signed=True)
    )


@settings(max_examples=25, deadline=None)
@given(column_of(texts | words.map("".join)))
def test_generalize(values: list[object]) -> None:
    def label(value: object) -> str:
        for name, parts in LOOKUPS["class"].items():
            if any(part.lower() in str(value).lower() for part in parts):
                return name
        return "other"

    assert treated(Generalize("class", "other"), "string", values) == each(values, label)


@pytest.mark.parametrize(("kind", "bits"), [("int", 32), ("long", 64)])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_truncate_time_and_bucket_width(kind: str, bits: int, data: st.DataObject) -> None:
    values = data.draw(column_of(BY_KIND[kind]))
    treatment, unit = data.draw(
        st.sampled_from([(TruncateTime(name), unit) for name, unit in UNIT_MS.items()])
        | st.integers(1, 2**31 - 1).map(lambda width: (BucketWidth(width), width))
    )
    lowest = -(2 ** (bits - 1))

    def oracle(value: object) -> int:
        assert isinstance(value, int)
        below: int = value // unit * unit
        return below if below >= lowest else below + unit

    assert treated(treatment, kind, values) == each(values, oracle)


@settings(max_examples=25, deadline=None)
@given(
    column_of(longs | st.integers(-30, 30) | st.integers(2**53 - 2, 2**53 + 2)),
    st.sets(
        st.integers(-20, 20) | st.floats(-20, 20) | st.sampled_from([2**53, -(2**53)]),
        min_size=1,
        max_size=4,
    ),
)
def test_bucket_edges_of_whole_numbers(values: list[object], edges: set[int | float]) -> None:
    bounds = tuple(sorted(edges))
    assert treated(BucketEdges(bounds), "long", values) == each(values, ranged(bounds))


@settings(max_examples=25, deadline=None)
@given(
    column_of(st.floats(allow_nan=False) | st.integers(-5, 5).map(float)),
    st.sets(st.integers(-5, 5), min_size=1, max_size=4),
)
def test_bucket_edges_of_doubles(values: list[object], edges: set[int | float]) -> None:
    bounds = tuple(sorted(edges))
    assert treated(BucketEdges(bounds), "double", values) == each(values, ranged(bounds))


def ranged(bounds: tuple[int | float, ...]) -> Callable[[object], str]:
    def oracle(value: object) -> str:
        assert isinstance(value, int | float)
        if value < bounds[0]:
            return f"below {bounds[0]}"
        for low, high in pairwise(bounds):
            if low <= value < high:
                return f"{low} to below {high}"
        return f"from {bounds[-1]}"

    return oracle


def test_not_a_number_falls_in_the_highest_bucket() -> None:
    assert treated(BucketEdges((0, 5)), "double", [math.nan, math.inf]) == ["from 5"] * 2


addresses = (
    st.ip_addresses().map(str)
    | st.sampled_from(["", "1.2.3", "01.2.3.4", "::1", "x", "1.2.3.4/24"])
) | texts


@settings(max_examples=25, deadline=None)
@given(column_of(addresses), st.integers(0, 32), st.integers(0, 128))
@example(["::1", "fe80::1%eth0", "::ffff:1.2.3.4"], 24, 16)
def test_truncate_address(values: list[object], prefix4: int, prefix6: int) -> None:
    def network(value: object) -> str | None:
        try:
            address = ip_address(str(value).partition("%")[0] if ":" in str(value) else str(value))
        except ValueError:
            return None
        bits = 32 if isinstance(address, IPv4Address) else 128
        keep = prefix4 if isinstance(address, IPv4Address) else prefix6
        masked = int(address) >> (bits - keep) << (bits - keep)
        kind = IPv4Address if isinstance(address, IPv4Address) else IPv6Address
        return f"{kind(masked)}/{keep}"

    found = treated(TruncateAddress(prefix4, prefix6), "string", values)
    assert found == each(values, network)
    for text in found:
        assert text is None or str(ip_network(str(text))) == text


@settings(max_examples=25, deadline=None)
@given(column_of(floats), st.integers(0, 6))
@example([0.29, 1.1, -0.29, 0.0, -180.0, 0.07, 8.41], 2)
@example([math.nextafter(step / 100, -math.inf) for step in range(-18_000, 18_000, 7)], 2)
def test_truncate_point(values: list[object], decimals: int) -> None:
    step = Decimal(1).scaleb(-decimals)

    def oracle(value: object) -> float:
        return float(Decimal(repr(value)).quantize(step, rounding=ROUND_FLOOR))

    found = treated(TruncatePoint(decimals), "double", values)
    assert found == each(values, oracle)
    assert treated(TruncatePoint(decimals), "double", found) == found


def test_truncate_point_has_nothing_for_what_is_no_place() -> None:
    values: list[object] = [math.nan, math.inf, -math.inf]
    assert treated(TruncatePoint(2), "double", values) == [None] * 3


FITS: dict[Treatment, set[str]] = {
    Keep(): set(COLUMN_TYPES),
    Pseudonymize("hex"): {"string", "enum", "int", "long"},
    Pseudonymize("int64"): {"string", "enum", "int", "long"},
    Generalize("class", "other"): {"string", "enum"},
    BucketEdges((1,)): {"int", "long", "float", "double"},
    BucketWidth(1): {"int", "long"},
    TruncateTime("day"): {"int", "long"},
    TruncateAddress(8, 8): {"string"},
    TruncatePoint(1): {"float", "double"},
}
OTHER = ("null", "bytes", "fixed", "map<string>", "array<int>", "union<string,long>", "array<enum>")


@pytest.mark.parametrize("treatment", FITS, ids=repr)
def test_what_does_not_fit_is_refused_at_start(treatment: Treatment) -> None:
    for kind in (*COLUMN_TYPES, *OTHER):
        leaf = Leaf("a.b", kind, frozenset({"TAG"}))
        if kind in FITS[treatment]:
            assert expressions.output_type(treatment, leaf) in COLUMN_TYPES
            continue
        with pytest.raises(PolicyError, match=r"a\.b") as error:
            expressions.expression(Decision(treatment, "TAG"), leaf, LOOKUPS, KEY)
        assert "drop" in error.value.remedy
    for path in ("a[].b", "a{}.b", "a<n.R>.b"):
        inside = Leaf(path, min(FITS[treatment]), frozenset({"TAG"}))
        with pytest.raises(PolicyError, match="container"):
            expressions.output_type(treatment, inside)


def test_every_treatment_is_tested_for_fit() -> None:
    assert {type(treatment) for treatment in FITS} == set(VARIANTS) - {Drop}


@pytest.mark.parametrize("kind", [*COLUMN_TYPES, *OTHER])
def test_drop_fits_everything_and_gives_nothing(kind: str) -> None:
    leaf = Leaf("a.b", kind, frozenset({"TAG"}))
    assert expressions.output_type(Drop(), leaf) is None
    with pytest.raises(ValueError, match="dropped"):
        expressions.expression(Decision(Drop(), "TAG"), leaf, LOOKUPS, KEY)


@pytest.mark.parametrize("logical", ["timestamp-micros", "timestamp-nanos", "time-micros", "date"])
def test_time_in_another_unit_is_refused(logical: str) -> None:
    leaf = Leaf("at", "long", frozenset({"TAG"}), logical=logical)
    with pytest.raises(PolicyError, match="milliseconds"):
        expressions.output_type(TruncateTime("minute"), leaf)


def test_only_what_can_make_null_of_a_value_says_so() -> None:
    empties = {type(treatment) for treatment in FITS if expressions.may_empty(treatment)}
    assert empties == {TruncateAddress, TruncatePoint}


@pytest.mark.parametrize("treatment", FITS, ids=repr)
def test_no_rows_make_no_rows(treatment: Treatment) -> None:
    for kind in FITS[treatment]:
        assert treated(treatment, kind, []) == []

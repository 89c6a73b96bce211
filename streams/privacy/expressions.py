"""Treatments carried out: each becomes a polars expression over the column of its leaf.

Whether a treatment fits a leaf is decided here, before any value is seen, by `output_type`. Null
stays null under every treatment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import pairwise

import numpy as np
import polars as pl

from streams.errors import PolicyError
from streams.privacy.keys import PseudonymKey
from streams.privacy.policy import Decision, Lookup
from streams.privacy.pseudonyms import Pseudonyms, pseudonyms
from streams.privacy.tags import Leaf
from streams.privacy.treatments import (
    UNIT_MS,
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

COLUMN_TYPES: Mapping[str, pl.DataType] = {
    "string": pl.String(),
    "enum": pl.String(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
    "array<string>": pl.List(pl.String()),
}
"""Column type of each leaf type that a listen can carry; every other leaf can only be dropped."""

MILLISECONDS = (None, "timestamp-millis", "local-timestamp-millis", "time-millis")
_SAME = ""


@dataclass(frozen=True, slots=True)
class _Fit:
    """Leaf types that a treatment takes, and the one it gives. ``_SAME``: the one it took."""

    takes: tuple[str, ...]
    gives: str = _SAME
    may_empty: bool = False
    """Whether null can come of a value."""


_FITS: Mapping[type[Treatment], _Fit] = {
    Keep: _Fit(tuple(COLUMN_TYPES)),
    Generalize: _Fit(("string", "enum"), "string"),
    BucketEdges: _Fit(("int", "long", "float", "double"), "string"),
    BucketWidth: _Fit(("int", "long")),
    TruncateTime: _Fit(("int", "long")),
    TruncateAddress: _Fit(("string",), "string", may_empty=True),
    TruncatePoint: _Fit(("float", "double"), "double", may_empty=True),
}
_PSEUDONYMIZED = ("string", "enum", "int", "long")


def output_type(treatment: Treatment, leaf: Leaf) -> str | None:
    """Type of what ``treatment`` makes of the leaf; None where it is dropped.

    Raises:
        PolicyError: the treatment does not fit the leaf's type or unit.
    """
    if isinstance(treatment, Drop):
        return None
    fit = _fit(treatment)
    if leaf.type not in fit.takes or leaf.within_container:
        where = " inside a container" if leaf.within_container else ""
        raise PolicyError(
            f"{leaf.path} is of type {leaf.type}{where}, which {treatment.kind} does not take.",
            "Give its tag a treatment that does; drop takes every type.",
        )
    if isinstance(treatment, TruncateTime) and leaf.logical not in MILLISECONDS:
        raise PolicyError(
            f"{leaf.path} is a {leaf.logical}, but truncate counts milliseconds.",
            "Use timestamp-millis in the schema.",
        )
    return fit.gives or leaf.type.replace("enum", "string")


def may_empty(treatment: Treatment) -> bool:
    """Whether the treatment can make null of a value (an address that is none, not a number)."""
    return _fit(treatment).may_empty


def expression(
    decision: Decision, leaf: Leaf, lookups: Mapping[str, Lookup], key: PseudonymKey
) -> pl.Expr:
    """What becomes of the column named ``leaf.path``. Total: no value makes it fail.

    Casts are lenient throughout, because a strict one that fails quotes the value it fails on.

    Raises:
        PolicyError: the treatment does not fit the leaf.
        ValueError: the leaf is dropped; there is nothing to compute.
    """
    treatment = decision.treatment
    if output_type(treatment, leaf) is None:
        raise ValueError("a dropped leaf has no expression")
    column = pl.col(leaf.path).cast(COLUMN_TYPES[leaf.type], strict=False)
    match treatment:
        case Keep():
            return column
        case Pseudonymize():
            return _pseudonymize(column, treatment, pseudonyms(key, decision.tag))
        case Generalize():
            return _generalize(column, lookups[treatment.lookup], treatment.otherwise)
        case BucketEdges():
            return _range(column, treatment.edges)
        case BucketWidth():
            return _floor(column, treatment.width, leaf.type)
        case TruncateTime():
            return _floor(column, UNIT_MS[treatment.to], leaf.type)
        case TruncateAddress():
            return _network(column, treatment)
        case TruncatePoint():
            return _round_down(column, treatment.decimals)
    raise TypeError(f"{treatment.kind} has no expression")


def _fit(treatment: Treatment) -> _Fit:
    if isinstance(treatment, Pseudonymize):
        return _Fit(_PSEUDONYMIZED, "string" if treatment.form == "hex" else "long")
    return _FITS[type(treatment)]


def _pseudonymize(column: pl.Expr, treatment: Pseudonymize, maker: Pseudonyms) -> pl.Expr:
    text = column.cast(pl.String, strict=False)
    if treatment.form == "hex":
        return text.map_batches(maker.hex_column, return_dtype=pl.String())
    return text.map_batches(maker.int64_column, return_dtype=pl.Int64())


def _generalize(column: pl.Expr, lookup: Lookup, otherwise: str) -> pl.Expr:
    """Worked out once per distinct value of a batch, as there are few."""
    lower = pl.col("value").str.to_lowercase()
    label: pl.Expr = pl.lit(otherwise)
    for name, words in reversed(list(lookup.items())):
        found = lower.str.contains_any([word.lower() for word in words])
        label = pl.when(found).then(pl.lit(name)).otherwise(label)

    def labels(values: pl.Series) -> pl.Series:
        known = values.drop_nulls().unique()
        given = known.to_frame("value").select(label.alias("label"))["label"]
        return values.replace_strict(known, given, default=None, return_dtype=pl.String)

    return column.map_batches(labels, return_dtype=pl.String())


def _range(column: pl.Expr, edges: tuple[int | float, ...]) -> pl.Expr:
    """As doubles, which are exact up to the largest edge there can be. Not-a-number counts as
    highest, as polars orders it."""
    value = column.cast(pl.Float64, strict=False)
    below = [f"below {edges[0]}", *(f"{low} to below {high}" for low, high in pairwise(edges))]
    label: pl.Expr = pl.lit(f"from {edges[-1]}")
    for edge, name in reversed(list(zip(edges, below, strict=True))):
        label = pl.when(value < edge).then(pl.lit(name)).otherwise(label)
    return pl.when(value.is_not_null()).then(label)


def _floor(column: pl.Expr, unit: int, leaf_type: str) -> pl.Expr:
    """Toward minus infinity. The lowest values have no multiple below them in their type; they
    take the lowest there is instead of wrapping around."""
    lowest = -(2 ** (31 if leaf_type == "int" else 63)) // -unit * -unit
    floored = column.cast(pl.Int64, strict=False).clip(lower_bound=lowest) // unit * unit
    return floored.cast(COLUMN_TYPES[leaf_type], strict=False)


def _network(column: pl.Expr, treatment: TruncateAddress) -> pl.Expr:
    def network(text: str | None) -> str | None:
        try:
            address = ip_address(text or "")
        except ValueError:
            return None
        # By number: the text may carry a zone ("fe80::1%eth0"), which can name a device.
        if address.version == 4:
            return str(IPv4Network((int(address), treatment.prefix4), strict=False))
        return str(IPv6Network((int(address), treatment.prefix6), strict=False))

    def networks(texts: pl.Series) -> pl.Series:
        found = [network(text) for text in texts.to_list()]
        return pl.Series(texts.name, found, dtype=pl.String)

    return column.map_batches(networks, return_dtype=pl.String())


def _round_down(column: pl.Expr, decimals: int) -> pl.Expr:
    """The largest number of so many decimals that is not above the value, as doubles compare: 0.29
    stays 0.29 although 0.29 * 100 is below 29. Infinite and not-a-number become null."""
    scale = 10.0**decimals

    def cut(values: pl.Series) -> pl.Series:
        # In numpy, because polars divides by multiplying with the inverse: 300000 / 1e5 is not 3.
        given = values.to_numpy()
        with np.errstate(invalid="ignore", over="ignore"):
            steps = np.floor(given * scale)
            steps -= steps / scale > given
            steps += (steps + 1) / scale <= given
            down = steps / scale
        finite = np.where(np.isfinite(down), down, np.nan)
        return pl.Series(values.name, finite, dtype=pl.Float64, nan_to_null=True)

    return column.cast(pl.Float64, strict=False).map_batches(cut, return_dtype=pl.Float64())

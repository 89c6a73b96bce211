"""Treatments in words, as exact as the code: for the record of processing and the inventory."""

from __future__ import annotations

from collections.abc import Sequence

from streams.privacy.treatments import (
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


def described(
    treatment: Treatment,
    logical: str | None,
    labels: Sequence[str],
    feeds: Sequence[str],
    checks: Sequence[str],
) -> str:
    """What becomes of a field.

    Args:
        treatment: what is done with its value.
        logical: its Avro logical type, which tells a point in time from an amount.
        labels: what a generalized value can become.
        feeds: fields of a listen that the gate works out with its help.
        checks: what else the gate reads it for.
    """
    reasons = [f"to work out {listed(feeds)}"] if feeds else []
    if checks:
        reasons.append(f"to check {listed(checks)}")
    used = listed(reasons)
    if isinstance(treatment, Drop):
        return f"used in the gate {used}, then dropped" if used else "dropped"
    done = _done(treatment, logical, labels)
    return f"{done}; in the gate also used {used}" if used else done


def _done(treatment: Treatment, logical: str | None, labels: Sequence[str]) -> str:
    match treatment:
        case Keep():
            return "kept as it is"
        case Pseudonymize(form="hex"):
            return "replaced by a keyed digest of this audience alone, 32 hexadecimal digits"
        case Pseudonymize():
            return "replaced by a keyed digest of this audience alone, a 64-bit number"
        case TruncateTime(to=unit):
            return f"cut to the {unit}" if logical else f"cut to whole {unit}s"
        case TruncateAddress(prefix4=four, prefix6=six):
            return f"cut to its network: the first {four} bits of IPv4, {six} of IPv6"
        case TruncatePoint(decimals=decimals):
            return f"cut down to {decimals} decimals of a degree"
        case Generalize():
            return f"replaced by its kind: {listed(labels, 'or')}"
        case BucketWidth(width=width):
            return f"cut down to a multiple of {width}"
        case BucketEdges(edges=edges):
            return f"replaced by the range it is in, between {listed([str(e) for e in edges])}"
    raise TypeError(f"{treatment.kind} has no words")


def listed(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"

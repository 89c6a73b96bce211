"""What is planted differs by field and covers every personal field of the schema."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.settings import bundled
from streams.sources.canary import canaries, marks


def leaves(fields: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields:
        if isinstance(field["type"], dict) and field["type"]["type"] == "record":
            yield from leaves(field["type"]["fields"], f"{prefix}{field['name']}.")
        else:
            yield f"{prefix}{field['name']}", field


def test_every_text_and_place_that_the_gate_does_not_keep_is_planted() -> None:
    schema = json.loads((bundled("schemas") / "play.avsc").read_text())
    policy = tomllib.loads((bundled("schemas") / "policy.toml").read_text())
    treatments = policy["audiences"]["analytics"]["treatments"]
    expected = {
        name
        for name, field in leaves(schema["fields"])
        if any(treatments[tag]["do"] != "keep" for tag in field["confluent:tags"])
        and any(kind in json.dumps(field["type"]) for kind in ("string", "double"))
    }
    assert set(canaries("x")) == expected


@given(st.text(min_size=1))
def test_texts_differ_and_start_with_the_canary(canary: str) -> None:
    planted = canaries(canary)
    assert len(set(planted.values())) == len(planted)
    for field, mark in marks(canary).items():
        assert str(planted[field]).startswith(canary)
        assert mark.startswith(str(planted[field]))


def test_without_a_canary_nothing_is_marked() -> None:
    assert set(marks(None)) == set(marks("x"))
    assert set(marks(None).values()) == {""}

"""Privacy commands as stores read, remember and answer them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.codecs import Codecs
from streams.agents.commands import (
    Answer,
    Command,
    Held,
    Rekey,
    decode_commands,
    decode_rekeys,
    send_answers,
)
from streams.app.roles import codecs_of
from streams.errors import StateError
from streams.settings import load
from streams.topics import PRIVACY_ANSWERS, PRIVACY_COMMANDS, PRIVACY_REKEYS
from tests.agents.partitions import Topics

NAMES = tuple(f"{number:032x}" for number in range(6))
ARTISTS = ("Aster", "Bryony")
Row = dict[str, Any]


def command(offset: int = 0, **fields: Any) -> Command:
    return Command(
        **{
            "offset": offset,
            "request": "",
            "audience": "product",
            "listener": NAMES[0],
            "action": "erase",
            "before": None,
            "issued_at": 0,
            "exclude_artist": None,
            "exclude_from": None,
            "exclude_until": None,
            **fields,
        }
    )


def rows(events: Sequence[Command | Rekey]) -> list[Row]:
    return [
        {name: getattr(event, name) for name in event.__slots__ if name != "offset"}
        for event in events
    ]


async def written(
    topics: Topics, codecs: Codecs, commands: Sequence[Command], rekeys: Sequence[Rekey]
) -> None:
    for topic, events in ((PRIVACY_COMMANDS, commands), (PRIVACY_REKEYS, rekeys)):
        encoder = await codecs.records(topic)
        values = encoder.encode({"issued_at": 0, **row} for row in rows(events))
        topics.add(topic, [b"key"] * len(values), values)


moments = st.integers(0, 6)
commands = st.builds(
    command,
    listener=st.sampled_from(NAMES),
    audience=st.sampled_from(["product", "product", "analytics"]),
    action=st.sampled_from(["erase", "exclude", "restrict", "lift", "export"]),
    before=st.none() | moments,
    issued_at=moments,
    exclude_artist=st.none() | st.sampled_from(ARTISTS),
    exclude_from=st.none() | moments,
    exclude_until=st.none() | moments,
)
# As the gate makes them: a pseudonym has one successor, of the next epoch.
rekeys = st.lists(
    st.builds(
        lambda number, audience: Rekey(0, audience, NAMES[number], NAMES[number + 2], number // 2),
        st.integers(0, 3),
        st.sampled_from(["product", "product", "analytics"]),
    ),
    max_size=6,
)
listens = st.lists(
    st.fixed_dictionaries(
        {
            "listener": st.sampled_from(NAMES),
            "started_at": moments,
            "artist": st.sampled_from(ARTISTS),
            "epoch": st.just(0),
        }
    ),
    min_size=1,
    max_size=12,
)


def admitted_by_hand(listens: list[Row], commands: list[Command], rekeys: list[Rekey]) -> list[Row]:
    """Listen by listen, from the words of the schema."""
    successor = {each.old: each for each in rekeys if each.audience == "product"}

    def newest(name: str) -> str:
        return newest(successor[name].new) if name in successor else name

    kept = []
    for listen in listens:
        name, moved = listen["listener"], None
        while name in successor:
            moved = successor[name]
            name = moved.new
        for each in commands:
            if each.audience != "product" or newest(each.listener) != name:
                continue
            started = listen["started_at"]
            limit = each.issued_at if each.before is None else each.before
            if each.action == "erase" and started < limit:
                break
            if (
                each.action == "exclude"
                and each.exclude_artist in (None, listen["artist"])
                and (each.exclude_from is None or started >= each.exclude_from)
                and (each.exclude_until is None or started < each.exclude_until)
            ):
                break
        else:
            kept.append({**listen, "listener": name, "epoch": moved.epoch if moved else 0})
    return kept


@given(listens, st.lists(commands, max_size=8), rekeys, st.data())
@settings(deadline=None, max_examples=150)
def test_what_is_admitted_follows_from_what_was_noted_in_any_order(
    listens: list[Row], noted: list[Command], rekeys: list[Rekey], data: st.DataObject
) -> None:
    events: list[Command | Rekey] = [*noted, *rekeys]
    held, product = Held(), [each for each in events if each.audience == "product"]
    for event in data.draw(st.permutations(product)):
        held.note(event)
    frame = pl.DataFrame(listens, schema_overrides={"epoch": pl.Int32})
    admitted = held.admit(frame)
    assert admitted.to_dicts() == admitted_by_hand(listens, noted, rekeys)
    assert admitted.schema == frame.schema
    assert held.admit(admitted).equals(admitted)


@given(st.lists(commands, max_size=8), rekeys, st.integers(0, 8), st.integers(0, 6))
@settings(deadline=None, max_examples=30)
async def test_loading_is_noting_what_is_before_the_offsets(
    noted: list[Command], rekeys: list[Rekey], command_offset: int, rekey_offset: int
) -> None:
    command_offset = min(command_offset, len(noted))
    rekey_offset = min(rekey_offset, len(rekeys))
    codecs, topics, held = codecs_of(load()), Topics(), Held()
    noted = [command(**{**row, "offset": n}) for n, row in enumerate(rows(noted))]
    await written(topics, codecs, noted, rekeys)
    loaded = await Held.load(
        topics.reader(), codecs, 0, "product", command_offset, rekey_offset, NAMES[-1:]
    )
    held.note(command(-1, listener=NAMES[-1], action="restrict"))
    events: list[Command | Rekey] = [*rekeys[:rekey_offset], *noted[:command_offset]]
    for event in events:
        if event.audience == "product":
            held.note(event)
    assert vars(loaded) == vars(held)


def test_the_newest_restriction_holds_under_any_name() -> None:
    held = Held()
    held.note(command(1, action="lift", listener=NAMES[2]))
    held.note(command(0, action="restrict", listener=NAMES[0]))
    assert held.all_restricted == {NAMES[0]}
    held.note(Rekey(0, "product", NAMES[0], NAMES[2], 2))
    assert held.all_restricted == set()
    held.note(command(2, action="restrict", listener=NAMES[0]))
    assert held.restricted(NAMES) == {NAMES[2]}
    assert held.names_of([NAMES[2]]) == {NAMES[0], NAMES[2]}


async def test_batches_decode_with_their_offsets_for_one_audience() -> None:
    codecs, topics = codecs_of(load()), Topics()
    noted = [
        command(0, request="a" * 32, before=60_000),
        command(1, audience="analytics"),
        command(2, action="exclude", exclude_artist="Aster", exclude_from=1, exclude_until=2),
    ]
    renamed = [
        Rekey(0, "analytics", NAMES[0], NAMES[1], 2),
        Rekey(1, "product", NAMES[2], NAMES[3], 3),
    ]
    await written(topics, codecs, noted, renamed)
    batch = topics.batch(PRIVACY_COMMANDS, 0, 10)
    assert batch is not None
    assert await decode_commands(codecs, batch, "product") == [noted[0], noted[2]]
    assert await decode_commands(codecs, batch, "elsewhere") == []
    batch = topics.batch(PRIVACY_REKEYS, 1, 10)
    assert batch is not None
    assert await decode_rekeys(codecs, batch, "product") == renamed[1:]


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00\x00"])
async def test_a_record_that_is_no_command_stops_the_worker(value: bytes | None) -> None:
    codecs, topics = codecs_of(load()), Topics()
    await written(topics, codecs, [command()], [])
    topics.add(PRIVACY_COMMANDS, [b"key"], [value])
    batch = topics.batch(PRIVACY_COMMANDS, 0, 10)
    assert batch is not None
    with pytest.raises(StateError):
        await decode_commands(codecs, batch, "product")


async def test_answers_are_keyed_by_request_and_only_to_who_asked() -> None:
    codecs, topics = codecs_of(load()), Topics()
    encoder = await codecs.columns(PRIVACY_ANSWERS)
    answers = [
        Answer("f" * 32, "product", "taste-state", "export", 1, 1, "asked", '{"plays": 3}'),
        Answer("", "product", "taste-state", "erase", 1, 0, "asked"),
    ]
    await send_answers(topics, encoder, 0, answers, 1_000)
    await send_answers(topics, encoder, 0, answers[1:], 1_000)
    (record,) = topics.records(PRIVACY_ANSWERS)
    assert record.key == b"f" * 32
    assert record.value is not None
    (row,) = await codecs.decode_records([record.value])
    assert row.pop("finished_at").timestamp() == 1.0
    assert row == {name: getattr(answers[0], name) for name in Answer.__slots__}


def test_no_pseudonym_or_content_shows_in_a_repr() -> None:
    shown = repr([
        command(exclude_artist="Aster"),
        Rekey(0, "product", NAMES[0], NAMES[1], 1),
        Answer("", "product", "s", "export", 1, 1, "c", "content"),
        command(exclude_artist="Aster").exclusion,
    ])  # fmt: skip
    assert not any(text in shown for text in (*NAMES, "Aster", "content"))


def test_nothing_held_costs_nothing() -> None:
    frame = pl.DataFrame({"listener": NAMES * 100_000})
    started = time.perf_counter()
    assert Held().admit(frame) is frame
    assert time.perf_counter() - started < 0.01

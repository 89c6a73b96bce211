"""A canary in every personal field of every play: found in the raw zone and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.cli import produce
from streams.privacy import policy
from streams.sources.canary import canaries
from streams.sources.simulate import Simulation
from streams.topics import CONSENT, PLAYS, PRIVACY_REQUESTS, REJECTED
from streams.warehouse import release
from tests.whole.partner import with_partner
from tests.whole.search import database, find, forms
from tests.whole.system import ROLES, System, running

PLAYED = 4_000
WHOLE = 4
"""Whole values a field that are looked for in every form."""


async def topic(system: System, name: str) -> list[tuple[str, bytes]]:
    return [
        (f"topic {name}", b"\n".join(part for part in (*batch.keys, *batch.values) if part))
        for batch in await system.records(name)
    ]


def left_behind(folder: Path, scratch: Path) -> Iterator[tuple[str, bytes]]:
    yield from database(folder / "warehouse" / "warehouse.duckdb", scratch)
    yield from database(folder / "reporting.duckdb", scratch)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in (".duckdb", ".hex"):
            yield f"file {file.relative_to(folder)}", file.read_bytes()


def whole_values(simulation: Simulation) -> dict[str, str]:
    """A few whole values of each planted field: what an unsalted digest would be taken of."""
    found: dict[str, dict[str, None]] = {}
    for play in next(iter(simulation.chunks())):
        for field in canaries(""):
            value: Any = play
            for step in field.split("."):
                value = value[step]
            found.setdefault(field, {})[str(value)] = None
    return {
        f"{field} #{number}": value
        for field, values in found.items()
        for number, value in enumerate(list(values)[:WHOLE])
    }


def leaves_no_core(process: int) -> bool:
    limits = Path(f"/proc/{process}/limits").read_text()
    return re.search(r"Max core file size +0 +0 ", limits) is not None


async def rejections(system: System) -> bytes:
    """What `plays.rejected` says about records, without the records themselves."""
    told = []
    for batch in await system.records(REJECTED.name):
        for record in await system.codecs.decode_records([v for v in batch.values if v]):
            del record["key"], record["value"]
            told.append(repr(record))
    return "\n".join(told).encode()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_personal_value_leaves_the_raw_zone(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    canary = f"canary{secrets.token_hex(6)}"
    planted = canaries(canary)
    simulation = Simulation(
        end=date(2026, 6, 1), listeners=50, plays=PLAYED, seed=3, broken=0.01, canary=canary
    )
    chunks = list(simulation.chunks())
    users = sorted({play["user_id"] for chunk in chunks for play in chunk})
    data = tmp_path / "data"
    schemas = with_partner(tmp_path / "schemas")
    async with running(
        fresh_broker.address, data, idempotence=False, schemas=str(schemas), rewrite_s="1"
    ) as system:
        sent = await produce.send_plays(
            system.settings, chunks, lambda _: None, grant=policy.PURPOSES
        )
        await system.start()
        await system.arrived(sent.ends)
        asked = [
            await system.ask(user, action)
            for user, action in zip(users, ("erase", "export", "restrict"), strict=False)
        ]
        await system.receipts(*asked)
        await asyncio.to_thread(release.request_and_wait, data, 60.0)
        metrics = [
            (f"metrics of {role}", (await system.pages.text(role)).encode()) for role in ROLES
        ]
        for role in ROLES:
            assert leaves_no_core(system.process_id(role))
            assert await system.terminate(role) == 0
        raw = await topic(system, PLAYS.name)
        by_account = [
            haystack
            for each in (CONSENT, PRIVACY_REQUESTS)
            for haystack in await topic(system, each.name)
        ]
        outside = [
            haystack
            for each in policy.topics(policy.load(system.settings.policy))
            if each not in (PLAYS, REJECTED, CONSENT, PRIVACY_REQUESTS)
            for haystack in await topic(system, each.name)
        ]
        outside.append(("rejections", await rejections(system)))
    outside += [*metrics, *left_behind(data, tmp_path)]
    places = {place for place, _ in outside}
    assert {
        "topic listens",
        "topic listens.analytics",
        "topic shared.partner",
        "topic taste-state",
        "topic taste-profiles",
        "topic deliveries",
        "topic privacy-standing",
        "topic privacy-commands",
        "topic privacy-answers",
        "topic privacy-receipts",
    } <= places
    assert {f"file logs/{role}.log" for role in ROLES} <= places
    seen = find(planted, raw)
    for field in planted:
        assert any(found.startswith(f"{field} as ") for found in seen), f"{field} was not planted"
    assert find(planted | whole_values(simulation), outside) == set()
    account = {"user_id": planted.pop("user_id")}
    assert find(account, by_account)
    assert find(planted, by_account) == set()


@pytest.mark.parametrize("form", sorted(forms("a canary's value: ü")))
def test_the_search_finds_a_value_planted_in_any_form(form: str) -> None:
    value = "a canary's value: ü"
    needle = forms(value)[form]
    assert find({"field": value}, [("here", b"before " + needle + b" after")])
    assert not find({"field": value}, [("here", b"before " + needle[:-1] + b" after")])


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_the_search_finds_a_value_inside_a_longer_base64_text(before: bytes) -> None:
    text = base64.b64encode(before + b"the canary" + b"and more")
    assert find({"field": "the canary"}, [("here", text)])


def test_the_search_finds_a_leak_in_a_compressed_database(tmp_path: Path) -> None:
    path = tmp_path / "leaky.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT md5('the canary') AS a, range AS n FROM range(100000)"
        )
    assert find({"field": "the canary"}, database(path, tmp_path)) >= {
        "field as md5 hex in leaky.duckdb, rows of t",
        "field as md5 hex in leaky.duckdb, bytes of an uncompressed copy",
    }

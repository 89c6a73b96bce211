"""Plays processed again on real Kafka change nothing; offsets are shown and moved with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams.brokers.apache import ApacheBroker
from streams.cli import resuming
from streams.errors import BrokerError, SettingsError, SourceError
from streams.topics import PLAYS
from tests.cli import command
from tests.whole.drill import STORES, outcome, settled, simulated, stop
from tests.whole.system import System, running
from tests.whole.test_lifecycle import send


async def counted(system: System, name: str) -> dict[str, int]:
    """A counter of taste and report, by role."""
    pages = [await system.pages.read(role) for role in STORES]
    return {key[0]: value for page in pages for key, value in page.by(name, "role").items()}


class Shown:
    """What `sottovoce offsets show` says."""

    def __init__(self, system: System, capsys: pytest.CaptureFixture[str]) -> None:
        self._settings, self._capsys = system.settings, capsys

    async def of(self, role: str) -> list[dict[str, Any]]:
        self._capsys.readouterr()
        await resuming.show(self._settings, [role], as_json=True)
        rows: list[dict[str, Any]] = json.loads(self._capsys.readouterr().out)
        return rows

    async def committed(self) -> list[int]:
        rows = await self.of("gate")
        return [row["committed"] or 0 for row in rows if row["topic"] == PLAYS.name]


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_plays_processed_again_change_nothing(
    kafka_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plays = [play for chunk in simulated() for play in chunk][:1_000]
    async with (
        ApacheBroker(kafka_cache) as broker,
        running(broker.address, tmp_path / "data", idempotence=True) as system,
    ):
        settings, shown = system.settings, Shown(system, capsys)
        await system.start()
        ends = await send(system, [plays])
        await system.arrived(ends)
        before = await outcome(system)
        folded = await counted(system, "sottovoce_listens_folded_total")
        repeated = await counted(system, "sottovoce_listens_repeated_total")
        assert set(repeated.values()) == {0}
        with pytest.raises(BrokerError, match=r"1 gate worker.*127\.0\.0\.1"):
            await resuming.again(settings, "beginning", None)

        await stop(system, "gate")
        await resuming.again(settings, "beginning", None)
        assert await shown.committed() == [0] * 4
        await system.start("gate")
        await settled(system)
        assert await outcome(system) == before
        assert await counted(system, "sottovoce_listens_folded_total") == folded
        duplicates = await counted(system, "sottovoce_duplicates_total")
        repeated = await counted(system, "sottovoce_listens_repeated_total")
        assert repeated == {role: folded[role] + duplicates[role] for role in STORES}

        rows = await shown.of("report")
        assert {row["resumes"] for row in rows} == {None}, "the worker alone can say"
        for role in STORES:
            with pytest.raises(SettingsError, match="resumes from positions in its store"):
                await resuming.reset(settings, role, "beginning", None, skip=False, ask=False)
        await stop(system, "gate", *STORES)
        for role in STORES:
            rows = [row for row in await shown.of(role) if "listens" in row["topic"]]
            assert sum(row["end"] for row in rows) > 0
            assert all(row["resumes"] == row["committed"] == row["end"] for row in rows)
        await moved_with_care(system, shown)


async def moved_with_care(system: System, shown: Shown) -> None:
    async def reset(to: str, partition: int | None = None, *, skip: bool = False) -> list[int]:
        await resuming.reset(system.settings, "gate", to, partition, skip=skip, ask=False)
        return await shown.committed()

    ends = await shown.committed()
    fullest = ends.index(max(ends))
    assert await reset("2020-01-01") == [0] * 4
    with pytest.raises(SourceError, match=f"{sum(ends)} plays would never be processed"):
        await reset("end")
    assert await reset("end", skip=True) == ends
    moved = await reset("3", fullest)
    assert moved == [3 if number == fullest else end for number, end in enumerate(ends)]
    for wrong, partition in (("3", None), ("999999", fullest), ("yesterday", None), ("3", 9)):
        with pytest.raises(SourceError):
            await reset(wrong, partition)


def test_replay_wants_files_or_a_start(
    tmp_path: Path,
) -> None:
    for arguments in (("replay",), ("replay", "plays.jsonl", "--from", "beginning")):
        code, _, err = command.run(*arguments, cwd=tmp_path)
        assert code == 2
        assert "Name files, or --from" in err

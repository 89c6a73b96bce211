"""`sottovoce doctor` against real Kafka with real faults: it names each, and says what to do."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiohttp import web
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.app.roles import open_codecs
from streams.brokers.apache import ApacheBroker
from streams.brokers.process import free_port
from streams.cli import doctor, resuming
from streams.cli.checks import machine
from streams.cli.checks.answer import Answer
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import ALL, CATALOGUE, PLAYS, PRIVACY_REQUESTS, REJECTED, TASTE_STATE, Topic
from streams.transport.admin import admin_client, create_topics
from streams.transport.producer import open_producer, send_records
from tests.cli import command
from tests.whole.system import running

Told = dict[str, list[Answer]]


async def told(settings: Settings) -> Told:
    found: Told = {}
    async for name, answer in doctor.examine(settings):
        found.setdefault(name, []).append(answer)
    return found


def faults(found: Told, name: str) -> str:
    """What a check says fails."""
    failing = [each for each in found[name] if each.fine is False]
    assert all(each.remedy for each in failing)
    return "\n".join(each.found for each in failing)


async def write(settings: Settings, topic: Topic, *values: bytes) -> None:
    async with open_producer(settings.kafka, idempotent=True) as producer:
        await send_records(producer, topic.name, 0, [b"key"] * len(values), values)


async def write_row(settings: Settings, topic: Topic, row: dict[str, Any]) -> None:
    async with open_codecs(settings) as codecs:
        (value,) = (await codecs.records(topic)).encode([row])
    await write(settings, topic, value)


@asynccontextmanager
async def page(port: int, status: int, text: str) -> AsyncIterator[None]:
    """A worker's page that says so."""

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    app = web.Application()
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.mark.slow
async def test_faults_of_kafka_and_of_what_is_in_it_are_named(
    kafka_cache: Path, tmp_path: Path
) -> None:
    now_ms = int(time.time() * 1_000)
    async with ApacheBroker(kafka_cache) as broker:
        settings = load(brokers=broker.address, data=tmp_path, web_port=free_port())
        await create_topics(settings.kafka, set(ALL) - {CATALOGUE}, 1, 1)
        async with admin_client(settings.kafka) as admin:
            wrong = {"cleanup.policy": "delete"}
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, TASTE_STATE.name, wrong)]
            )
            await write(settings, PLAYS, *[b"play"] * 100)
            await resuming.commit(settings.kafka, "sottovoce-gate", {(PLAYS.name, 0): 20})
            tp = TopicPartition(PLAYS.name, 0)
            await admin.delete_records({tp: RecordsToDelete(50)})  # as retention does
        await write_row(
            settings,
            REJECTED,
            {
                "topic": PLAYS.name, "partition": 0, "offset": 1, "reason": "malformed",
                "detail": "", "schema_id": None, "rejected_at": now_ms, "key": None, "value": None,
            },
        )  # fmt: skip
        asked = {"request_id": "r1", "user_id": "u1", "action": "export", "requested_at": now_ms}
        empty = dict.fromkeys(("exclude_artist", "exclude_from", "exclude_until"))
        await write_row(settings, PRIVACY_REQUESTS, {**asked, **empty})
        async with page(settings.web_port, 503, "plays/0: 50 records of lag and no commit"):
            found = await told(settings)
        three = settings.model_copy(update={"replication": 3})
        assert "3 replicas" in faults(await told(three), "broker")

        assert "missing: catalogue" in faults(found, "topics")
        assert "taste-state: cleanup.policy is delete, not compact" in faults(found, "topics")
        assert "no worker runs, 51 records wait (plays 50, privacy-requests 1)" in faults(
            found, "gate"
        )
        assert "30 records were removed by retention before gate took them" in faults(found, "gate")
        assert "2.0% of the plays (malformed 1)" in faults(found, "rejected")
        assert found["privacy requests"][0].found.startswith("1 without a receipt")
        assert "plays/0: 50 records of lag" in faults(found, "workers")
        assert not [each for each in found["broker"] if not each.fine]
        gone = {"brokers": f"127.0.0.1:{free_port()}", "registry_url": "http://127.0.0.1:1"}
        found = await told(settings.model_copy(update=gone))
    assert "does not answer" in faults(found, "broker")
    assert "registry" in faults(found, "schema registry")
    code, out, _ = await asyncio.to_thread(
        command.run, "doctor", "--json", "--brokers", gone["brokers"], cwd=tmp_path
    )
    assert code == 1
    assert {row["check"]: row["fine"] for row in json.loads(out) if row["fine"] is False} == {
        "broker": False
    }


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_worker_that_was_killed_is_missed(kafka_cache: Path, tmp_path: Path) -> None:
    simulation = Simulation(end=date(2026, 6, 1), listeners=20, plays=1_000, seed=1)
    async with (
        ApacheBroker(kafka_cache) as broker,
        running(
            broker.address, tmp_path / "data", idempotence=True, session_timeout_s="3"
        ) as system,
    ):
        from streams.cli import produce

        settings = system.settings
        await system.start("gate")
        await produce.send_plays(settings, simulation.chunks(), lambda _: None)
        await system.until_committed("gate", PLAYS.name, 1_000)
        found = await told(settings)
        assert found["gate"][0].fine
        assert found["gate"][0].found.startswith("1 worker")
        assert "no worker runs" in faults(found, "taste")
        await system.kill("gate")
        await produce.send_plays(settings, simulation.chunks(), lambda _: None)
        async with asyncio.timeout(60):
            while "no worker runs" not in faults(found := await told(settings), "gate"):
                await asyncio.sleep(0.5)
        assert "records wait (plays" in faults(found, "gate")


def test_a_full_disk_is_named(tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    if shutil.which("unshare") is None:
        missing("unshare, for a small disk, is not here")
    script = (
        "import asyncio, sys; from streams.settings import load;"
        " from streams.cli.checks.machine import data;"
        " answer = asyncio.run(data(load(data=sys.argv[1])));"
        " print(answer.fine, answer.found, answer.remedy)"
    )
    small = 'mount -t tmpfs -o size=16k none "$1" && (cat /dev/zero > "$1/full" 2>/dev/null;'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{small} "$2" -c "$3" "$1")', "sh",
         str(tmp_path), sys.executable, script],
        capture_output=True, text=True, timeout=60, check=False, cwd=command.ROOT,
    )  # fmt: skip
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a small disk")
    assert done.stdout.startswith("False"), done.stderr
    assert "No space left on device" in done.stdout
    assert "SOTTOVOCE_DATA" in done.stdout


async def test_a_disk_that_is_nearly_full_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LEAST_FREE", 2**62)
    assert (await machine.data(load(data=tmp_path))).fine is False

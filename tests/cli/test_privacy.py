"""`privacy` and `consent` against a broker on which a steward and stand-ins for the stores run."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams import topics
from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.steward import Steward
from streams.app.roles import open_codecs
from streams.brokers.embedded import EmbeddedBroker
from streams.cli import asking, decisions, exporting, receipt
from streams.errors import SourceError
from streams.privacy import keyring, keys, policy, receipts
from streams.privacy.standing import placement
from streams.rows import Column
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import (
    CONSENT,
    DELIVERIES,
    PLAYS,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_REQUESTS,
    Topic,
)
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import partition_reader
from tests.cli.command import run

USER = "canary-user"
PARTITIONS = 2
PATIENCE_S = 30.0
HELD = {"taste-state": {"artists": ["<b>Añejo</b>"]}, "warehouse": {"listens": 3}}


class Office:
    """What runs beside the commands: a steward, and stores that answer at once."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer, codecs: Codecs) -> None:
        self.settings, self.codecs = settings, codecs
        self.remaining = 0
        self._producer = producer
        self._ring = keyring.load(settings)

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        return await send_records(self._producer, topic, partition, keys, values)

    async def write(self, topic: Topic, partition: int, key: str, *records: Any) -> None:
        values = (await self.codecs.records(topic)).encode(records)
        await self.send_records(topic.name, partition, [key.encode()] * len(values), values)

    async def run(self, reader: AIOKafkaConsumer) -> None:
        steward = Steward(self.settings, self.codecs, policy.load(self.settings.policy))
        await steward.start(self, reader, PARTITIONS)
        await steward.resume({(PRIVACY_ANSWERS.name, each) for each in range(PARTITIONS)})
        inputs = [Following(topic) for topic in Steward.inputs]
        commands = Following(PRIVACY_COMMANDS)
        while True:
            for partition in range(PARTITIONS):
                for follower in inputs:
                    batches = [each async for each in follower.news(reader, partition)]
                    for batch in batches:
                        await steward.take(batch, self._ring)
                async for batch in commands.news(reader, partition):
                    values = [value for value in batch.values if value is not None]
                    for command in await self.codecs.decode_records(values):
                        await self._answer(partition, command)
            await steward.settle(self._ring)
            await asyncio.sleep(0.05)

    async def _answer(self, partition: int, command: dict[str, Any]) -> None:
        for store in receipts.STORES[command["action"]].get(command["audience"], ()):
            if command["request"]:
                answer = {
                    "request": command["request"],
                    "audience": command["audience"],
                    "store": store,
                    "action": command["action"],
                    "removed": 4,
                    "remaining": self.remaining,
                    "check": "rows of [the] listener",
                    "finished_at": time.time_ns() // 1_000_000,
                    "held": json.dumps(HELD[store]) if command["action"] == "export" else None,
                }
                await self.write(PRIVACY_ANSWERS, partition, command["request"], answer)


@asynccontextmanager
async def office(
    broker: EmbeddedBroker, folder: Path, *, open_: bool = True
) -> AsyncIterator[Office]:
    keys.create(folder / "key.hex")
    settings = load(brokers=broker.address, key_file=folder / "key.hex", idempotence=False)
    await create_topics(settings.kafka, topics.ALL, PARTITIONS, 1)
    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=False) as producer,
        partition_reader(settings.kafka) as reader,
    ):
        found = Office(settings, producer, codecs)
        working = asyncio.create_task(found.run(reader)) if open_ else None
        yield found
        if working is not None:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working


async def test_an_erasure_from_outside_ends_in_a_receipt_that_verifies(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    environment = {
        "SOTTOVOCE_BROKERS": fresh_broker.address,
        "SOTTOVOCE_IDEMPOTENCE": "false",
        "SOTTOVOCE_KEY_FILE": "key.hex",
    }

    async def sottovoce(*arguments: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(run, *arguments, cwd=tmp_path, **environment)

    async with office(fresh_broker, tmp_path):
        code, out, err = await sottovoce("privacy", "erase", USER, "--json", "--timeout", "30")
        assert code == 0, err
        request_id = json.loads(out)["receipt"]["request_id"]
        assert request_id in err
        assert "canary" not in out + err
        (tmp_path / "receipt.json").write_text(out, "utf-8")
        code, out, err = await sottovoce("privacy", "verify", "receipt.json")
        assert (code, out.startswith("valid")) == (0, True), err
        code, again, err = await sottovoce("privacy", "status", request_id)
        assert code == 0, err
        assert "[the]" in again

        code, _, err = await sottovoce("privacy", "status", "nothing-of-this-name")
        assert (code, "Traceback" in err) == (1, False)


async def test_a_receipt_with_something_left_is_a_failure(
    fresh_broker: EmbeddedBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with office(fresh_broker, tmp_path) as found:
        for action, done in (("restrict", True), ("erase", False)):
            found.remaining = 1
            request = asking.prepared(action, USER)
            assert await asking.ask(found.settings, request, PATIENCE_S, as_json=False) == done
    assert "Not everything is gone" in capsys.readouterr().err


async def test_without_workers_the_request_stands_and_the_wait_ends(
    fresh_broker: EmbeddedBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with office(fresh_broker, tmp_path, open_=False) as found:
        request = asking.prepared("exclude", USER, exclude_artist="A")
        assert not await asking.ask(found.settings, request, 0.3, as_json=False)
        assert request.request_id in capsys.readouterr().err
        await asking.status(found.settings, request.request_id, as_json=True)
        assert json.loads(capsys.readouterr().out)["state"] == "under way"
        assert await asking.ask(found.settings, asking.prepared("lift", USER), None, as_json=False)


async def test_an_export_holds_everything_and_only_of_this_person(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    play = next(Simulation(end=date(2026, 6, 1), listeners=3, days=2, plays=50, seed=1).chunks())[0]
    mine = {**play, "user_id": USER, "event_id": "mine"}
    other = {**play, "user_id": f"{USER}-other", "event_id": "theirs"}
    async with office(fresh_broker, tmp_path) as found:
        await found.write(PLAYS, 1, "k", mine, other)
        await decisions.send(found.settings, decisions.made(USER, ["analytics"], 5, granted=True))
        subject = keyring.load(found.settings).subjects().hex(USER)
        delivery = {
            "subject": subject, "audience": "labels", "recipient": "Record labels",
            "categories": ["user.behavior"], "first_at": 1, "last_at": 2,
        }  # fmt: skip
        await found.write(DELIVERIES, placement(subject, PARTITIONS), "k", delivery)
        refused = {"request_id": "x", "user_id": USER, "action": "exclude", "requested_at": 1}
        await found.write(PRIVACY_REQUESTS, 0, USER, refused)
        request = asking.prepared("export", USER)
        assert await asking.ask(found.settings, request, PATIENCE_S, as_json=False)
        held = await exporting.gathered(found.settings, request)
    exporting.prepare(tmp_path / "out")
    files = exporting.write(held, tmp_path / "out")
    assert {each.name for each in files} == {"export.json", "export.html"}
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in files)
    written = json.loads(files[0].read_text("utf-8"))
    assert [each["event_id"] for each in written["plays"]] == ["mine"]
    assert [each["purpose"] for each in written["decisions"]] == ["analytics"]
    assert {each["action"] for each in written["requests"]} == {"exclude", "export"}
    assert [each["reason"] for each in written["rejected"]] == ["missing-field"]
    assert {each["store"]: each["held"] for each in written["stores"]} == HELD
    assert [each["recipient"] for each in written["deliveries"]] == ["Record labels"]
    assert written["standing"]["subject"] == subject
    assert {each["audience"] for each in written["recipients"]} == {"product", "analytics"}
    fields = {each["field"]: each for each in written["fields"]}
    assert fields["user_id"]["categories"] == ["user.unique_id"]
    assert set(fields["device.serial"]["becomes"]) == {"product", "analytics"}
    page = files[1].read_text("utf-8")
    assert "theirs" not in page + files[0].read_text("utf-8")
    assert "&lt;b&gt;Añejo" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    with pytest.raises(SourceError, match="already"):
        exporting.prepare(tmp_path / "out")


async def test_decisions_are_shown_as_they_stand(
    fresh_broker: EmbeddedBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with office(fresh_broker, tmp_path, open_=False) as found:
        settings = found.settings
        both = ["analytics", "sharing"]
        await decisions.send(settings, decisions.made(USER, both, None, granted=True))
        await decisions.send(settings, decisions.made("someone", ["sharing"], None, granted=True))
        await decisions.send(settings, decisions.made(USER, ["sharing"], None, granted=False))
        capsys.readouterr()
        await decisions.show(settings, USER, as_json=True)
        shown = json.loads(capsys.readouterr().out)
        assert {each["purpose"]: each["granted"] for each in shown} == {
            "analytics": True, "sharing": False,
        }  # fmt: skip
        await decisions.show(settings, "nobody", as_json=False)
        assert "nothing was decided" in capsys.readouterr().out
        async with partition_reader(settings.kafka) as reader:
            keys_ = {
                key
                for partition in range(PARTITIONS)
                async for batch in Following(CONSENT).news(reader, partition)
                for key in batch.keys
            }
    assert f"{USER}/sharing".encode() in keys_


def test_the_newest_decision_of_a_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text(
        "user,purpose,granted,decided_at\n"
        "a/b,sharing,true,2026-01-02\n"
        "a/b,sharing,FALSE,2026-01-01T00:00:00+01:00\n"
        '"c,d",analytics,no,1970-01-01T00:00:01Z\n',
        "utf-8",
    )
    found = decisions.read(file)
    assert [(each["user_id"], each["purpose"], each["granted"]) for each in found] == [
        ("a/b", "sharing", True),
        ("c,d", "analytics", False),
    ]
    assert found[1]["decided_at"] == 1_000


@pytest.mark.parametrize(
    "text",
    [
        "user,purpose\ncanary,sharing\n",
        "user,purpose,granted,decided_at\ncanary,selling,true,2026-01-01\n",
        "user,purpose,granted,decided_at\ncanary,sharing,canary,2026-01-01\n",
        "user,purpose,granted,decided_at\ncanary,sharing,true,canary\n",
        "user,purpose,granted,decided_at\n,sharing,true,2026-01-01\n",
        "user,purpose,granted,decided_at\ncanary\n",
    ],
)
def test_a_faulty_file_is_refused_by_line_and_not_by_content(tmp_path: Path, text: str) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text(text, "utf-8")
    with pytest.raises(SourceError) as caught:
        decisions.read(file)
    assert "canary" not in str(caught.value)
    with pytest.raises(SourceError):
        decisions.read(tmp_path / "nowhere.csv")


def test_a_receipt_that_was_changed_or_is_another_ones_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.create(tmp_path / "key.hex")
    settings = load(key_file=tmp_path / "key.hex")
    body = {
        "version": 1, "request_id": "r", "action": "lift", "requested_at": 1, "finished_at": 2,
        "stores": [], "elsewhere": [],
    }  # fmt: skip
    receipt.emit(receipts.sign(body, keyring.load(settings)), as_json=True)
    text = capsys.readouterr().out
    file = tmp_path / "receipt.json"
    file.write_text(text, "utf-8")
    key = json.loads(text)["public_key"]
    assert receipt.verify(settings, file, None) == 0
    assert receipt.verify(load(), file, None) == 0
    assert "Whose key" in capsys.readouterr().err
    assert receipt.verify(load(), file, key.upper()) == 0
    assert receipt.verify(settings, file, "00" * 32) == 1
    file.write_text(text.replace('"lift"', '"erase"'), "utf-8")
    assert receipt.verify(settings, file, None) == 1
    file.write_text("{}", "utf-8")
    with pytest.raises(SourceError):
        receipt.verify(settings, file, None)


def test_a_request_that_the_gate_would_refuse_is_not_sent() -> None:
    with pytest.raises(SourceError, match="exclude_from"):
        asking.prepared("exclude", USER, exclude_from=9, exclude_until=3)
    with pytest.raises(SourceError, match="user_id"):
        asking.prepared("erase", "\udcff")

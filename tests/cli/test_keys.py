"""The commands about keys: a life of three epochs, what they refuse, what they send and delete."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from typer.testing import CliRunner, Result

from streams import settings as configuration
from streams.app.roles import open_codecs
from streams.avro import wire
from streams.avro.single import decode_record
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.process import Broker
from streams.cli import keys as commands
from streams.cli.main import app
from streams.errors import BrokerError, KeyMaterialError
from streams.privacy import keyring
from streams.privacy.ringfile import State
from streams.settings import Settings
from streams.topics import CONSENT, PRIVACY_REKEYS, PRIVACY_REQUESTS
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import end_offsets, partition_reader, read_span
from tests.cli.command import run as run_command

PARTITIONS = 3
ACCOUNTS = [f"account {number}" for number in range(50)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sottovoce(*arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(app, ["keys", *arguments], input=typed)
    for file in (Path("key"), Path("key.ring")):
        if file.exists():
            assert not set(re.findall("[0-9a-f]{64}", file.read_text())) & {*result.output.split()}
    return result


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings from the environment, with a key and a ring; an overlap takes 1,000 s."""
    assert sottovoce("init", "key").exit_code == 0
    monkeypatch.setenv("SOTTOVOCE_KEY_FILE", "key")
    monkeypatch.setenv("SOTTOVOCE_ROTATION_OVERLAP_S", "1000")
    return configuration.load()


def test_init_makes_both_files_once(tmp_path: Path) -> None:
    first = sottovoce("init", "key")
    assert first.stdout.split() == ["key", "key.ring"]
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("key", "key.ring")} == {0o600}
    second = sottovoce("init", "key")
    assert second.exit_code == 1
    assert isinstance(second.exception, KeyMaterialError)


def test_init_without_a_file_makes_the_ring_for_a_key_there_is(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.path_of(made).unlink()
    assert sottovoce("init").stdout.split() == ["key.ring"]
    assert keyring.load(made).current == 1
    assert isinstance(sottovoce("init").exception, KeyMaterialError)
    monkeypatch.delenv("SOTTOVOCE_KEY_FILE")
    assert isinstance(sottovoce("init").exception, KeyMaterialError)


@pytest.mark.usefixtures("made")
def test_vault_needs_its_settings_and_no_file() -> None:
    assert sottovoce("init", "--vault").exit_code == 2
    assert sottovoce("init", "--vault", "other").exit_code == 2
    assert not Path("other").exists()


def test_list_shows_the_states_and_no_secret(made: Settings) -> None:
    now_ms = time.time_ns() // 1_000_000
    for back_s in (9_000, 6_000, 500):
        keyring.rotate(made, now_ms - back_s * 1_000)
        if back_s == 6_000:
            keyring.destroy(made, 1, now_ms - 3_000_000)
    rows = [line.split(maxsplit=1) for line in sottovoce("list").stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    states = ("destroyed, 20", "ended 20", "overlap until 20", "current")
    for row, state in zip(rows, states, strict=True):
        assert state in row[1]


def test_verify_says_what_fails(made: Settings) -> None:
    good = sottovoce("verify")
    assert good.exit_code == 0
    assert good.stdout.split() == ["ok", "master", "ok", "ring", "ok", "seeds"]
    ring = keyring.path_of(made)
    ring.chmod(0o644)
    bad = sottovoce("verify")
    assert bad.exit_code == 1
    assert bad.stdout.split() == ["ok", "master", "failed", "ring"]
    assert "chmod 600 key.ring" in bad.stderr
    Path("key").unlink()
    assert sottovoce("verify").stdout.split() == ["failed", "master"]


def test_rotate_tells_when_to_destroy(made: Settings) -> None:
    done = sottovoce("rotate")
    assert done.stdout == "epoch 2 begins\n"
    assert "sottovoce keys destroy 1" in done.stderr
    assert keyring.load(made).usable == (1, 2)
    assert isinstance(sottovoce("rotate").exception, KeyMaterialError)


def test_destroy_asks_and_spares_the_seed_if_the_links_cannot_go(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOTTOVOCE_BROKERS", "127.0.0.1:1")
    keyring.rotate(made, 0)
    for arguments, typed in ((["destroy", "1"], "n\n"), (["destroy", "1"], "")):
        assert sottovoce(*arguments, typed=typed).exit_code == 1
    for arguments, typed in ((["destroy", "1"], "y\n"), (["destroy", "1", "--yes"], "")):
        assert isinstance(sottovoce(*arguments, typed=typed).exception, BrokerError)
    assert isinstance(sottovoce("destroy", "2", "--yes").exception, KeyMaterialError)
    assert [each.state for each in keyring.load(made).epochs] == [State.ENDED, State.CURRENT]


def test_a_failure_shows_its_remedy_and_no_trace(tmp_path: Path) -> None:
    code, out, err = run_command("keys", "list", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "sottovoce keys init" in err
    assert "Traceback" not in err


async def fill(settings: Settings, records: dict[bytes, bytes | None]) -> None:
    async with open_producer(settings.kafka, idempotent=False) as producer:
        for number in range(PARTITIONS):
            keys = [key for key in records if sum(key) % PARTITIONS == number]
            values = [records[key] for key in keys]
            await send_records(producer, CONSENT.name, number, keys, values)


async def requests_of(settings: Settings) -> list[tuple[int, bytes | None, dict[str, object]]]:
    """Partition, key and record of each request."""
    found = []
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        for number in range(PARTITIONS):
            async for batch in read_span(reader, PRIVACY_REQUESTS.name, number):
                for key, value in zip(batch.keys, batch.values, strict=True):
                    ((schema_id, group),) = wire.split([value]).groups.items()
                    schema = await codecs.registry.get(schema_id)
                    found.append((number, key, decode_record(schema, group.bodies[0])))
    return found


async def test_every_account_that_decided_is_asked_to_move_once(
    fresh_broker: EmbeddedBroker, made: Settings
) -> None:
    chosen = made.model_copy(update={"brokers": fresh_broker.address, "idempotence": False})
    await create_topics(chosen.kafka, [CONSENT, PRIVACY_REQUESTS], PARTITIONS, 1)
    assert await commands.request_rekey_all(chosen) == 0
    async with open_codecs(chosen) as codecs:
        encoder = await codecs.records(CONSENT)
    purposes = ("analytics", "personalization")
    records: dict[bytes, bytes | None] = {}
    for account in ACCOUNTS:
        for purpose in purposes:
            decision = {"user_id": account, "purpose": purpose, "granted": True, "decided_at": 1}
            records[f"{account}/{purpose}".encode()] = encoder.encode([decision])[0]
    await fill(chosen, records)
    gone, half = ACCOUNTS[0], ACCOUNTS[1]
    withdrawn = [f"{gone}/{purpose}" for purpose in purposes] + [f"{half}/{purposes[0]}"]
    await fill(chosen, dict.fromkeys([key.encode() for key in withdrawn]))

    assert await commands.request_rekey_all(chosen) == len(ACCOUNTS) - 1
    requests = await requests_of(chosen)
    assert Counter(record["user_id"] for _, _, record in requests) == Counter(ACCOUNTS[1:])
    assert {record["action"] for _, _, record in requests} == {"rekey"}
    assert len({record["request_id"] for _, _, record in requests}) == len(requests)
    numbers = list(range(PARTITIONS))
    for number, key, record in requests:
        assert key == str(record["user_id"]).encode()
        assert number == DefaultPartitioner()(key, numbers, numbers)


def test_rekey_all_can_be_repeated_within_the_overlap(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(settings: Settings) -> int:
        assert settings.brokers == "elsewhere:1"
        return 7

    monkeypatch.setattr(commands, "request_rekey_all", asked)
    for begins in ("epoch 2 begins\n", ""):
        done = sottovoce("rotate", "--rekey-all", "--brokers", "elsewhere:1")
        assert done.stdout == f"{begins}7 accounts asked to move\n"
    assert keyring.load(made).current == 2


async def linked(settings: Settings) -> int:
    """Records in the topic of links."""
    async with partition_reader(settings.kafka) as reader:
        ends = await end_offsets(reader, PRIVACY_REKEYS.name)
        tps = [TopicPartition(PRIVACY_REKEYS.name, number) for number in ends]
        starts = await reader.beginning_offsets(tps)
    return sum(ends[tp.partition] - starts[tp] for tp in tps)


@pytest.mark.slow
@pytest.mark.broker("apache")
async def test_the_links_are_deleted_from_kafka(broker: Broker, made: Settings) -> None:
    chosen = made.model_copy(update={"brokers": broker.address})
    with pytest.raises(BrokerError, match="privacy-rekeys does not exist"):
        await commands.delete_links(chosen)
    with pytest.raises(BrokerError, match="consent does not exist"):
        await commands.request_rekey_all(chosen)
    await create_topics(chosen.kafka, [PRIVACY_REKEYS], PARTITIONS, 1)
    await commands.delete_links(chosen)
    async with open_producer(chosen.kafka, idempotent=True) as producer:
        for number in range(PARTITIONS - 1):
            await send_records(producer, PRIVACY_REKEYS.name, number, [b"new"] * 5, [b"link"] * 5)
    assert await linked(chosen) == 5 * (PARTITIONS - 1)
    await commands.delete_links(chosen)
    assert await linked(chosen) == 0


@pytest.mark.broker("embedded")
async def test_a_broker_that_cannot_delete_is_named(broker: Broker, made: Settings) -> None:
    chosen = made.model_copy(update={"brokers": broker.address, "idempotence": False})
    await create_topics(chosen.kafka, [PRIVACY_REKEYS], PARTITIONS, 1)
    with pytest.raises(BrokerError, match=r"did not delete.*No key was destroyed"):
        await commands.delete_links(chosen)


def test_destroy_destroys_once_the_links_are_gone(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = list[State]()

    async def delete(settings: Settings) -> None:
        deleted.append(keyring.load(settings).epochs[0].state)

    monkeypatch.setattr(commands, "delete_links", delete)
    keyring.rotate(made, time.time_ns() // 1_000_000)
    assert isinstance(sottovoce("destroy", "1", "--yes").exception, KeyMaterialError)
    assert deleted == []
    done = sottovoce("destroy", "1", "--force", typed="y\n")
    assert done.exit_code == 0
    assert "epoch 1 is destroyed" in done.stdout
    assert "Backups" in done.stderr
    assert deleted == [State.OVERLAP]
    assert keyring.load(made).epochs[0].state is State.DESTROYED

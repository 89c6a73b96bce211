"""Apache Kafka: what it keeps over a restart, how it is set, and how it is fetched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.brokers import apache
from streams.brokers.apache import ApacheBroker
from streams.errors import BrokerError
from streams.settings import bundled
from tests.brokers import topics

POM = bundled("deploy") / "kafka" / "pom.xml"


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow
async def test_a_restart_keeps_records_port_and_the_settings_given(kafka_cache: Path) -> None:
    async with ApacheBroker(kafka_cache, {"message.max.bytes": "4321"}) as broker:
        address = broker.address
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await topics.create(admin, "kept-on-disk", 1, {})
        (response,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, "kept-on-disk")]
        )
        await admin.close()
        settings = {name: value for name, value, *_ in response.resources[0][4]}
        assert settings["max.message.bytes"] == "4321"
        # Transactions are what the embedded broker lacks.
        async with (
            AIOKafkaProducer(bootstrap_servers=address, transactional_id="t") as producer,
            producer.transaction(),
        ):
            await producer.send_and_wait("kept-on-disk", b"still here", partition=0)

        await broker.restart()

        assert broker.address == address
        async with AIOKafkaConsumer(
            "kept-on-disk",
            bootstrap_servers=address,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        ) as consumer:
            assert (await consumer.getone()).value == b"still here"


async def test_without_java_the_error_names_it(only: Path) -> None:
    with pytest.raises(BrokerError, match="needs Java 17") as caught:
        await ApacheBroker(only).start()
    assert "--brokers" in caught.value.remedy


async def test_without_maven_the_error_names_it(only: Path) -> None:
    script(only / "java", "exit 0")
    with pytest.raises(BrokerError, match="needs Apache Maven") as caught:
        await ApacheBroker(only / "cache").start()
    assert "--brokers" in caught.value.remedy


def test_a_failing_fetch_is_reported_and_leaves_no_half_filled_cache(
    only: Path, tmp_path: Path
) -> None:
    script(only / "mvn", "echo '[ERROR] nobody answers'; exit 1")
    cache = tmp_path / "cache"
    with pytest.raises(BrokerError, match="nobody answers"):
        apache.fetch(cache)
    assert list(cache.iterdir()) == []


def test_a_fetch_is_done_once_and_offers_what_maven_copied(only: Path, tmp_path: Path) -> None:
    script(
        only / "mvn",
        'for word; do case "$word" in -DoutputDirectory=*) folder="${word#*=}";; esac; done\n'
        f'{shutil.which("mkdir", path=os.defpath)} "$folder" && : > "$folder/kafka.jar"',
    )
    jars = apache.fetch(tmp_path / "cache")
    assert jars == tmp_path / "cache" / apache.pinned_version(POM)
    assert [jar.name for jar in jars.iterdir()] == ["kafka.jar"]
    (only / "mvn").unlink()
    assert apache.fetch(tmp_path / "cache") == jars
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [jars.name]


def test_what_java_says_is_reported_when_it_cannot_start(
    only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(only / "java", "echo 'UnsupportedClassVersionError'; exit 1")
    monkeypatch.setattr(apache, "fetch", lambda cache: cache)
    with pytest.raises(BrokerError, match="UnsupportedClassVersionError"), ApacheBroker(tmp_path):
        pass


def test_the_pinned_version_is_kafka_4() -> None:
    assert apache.pinned_version(POM).startswith("4.")


def test_a_pom_without_a_version_is_reported(tmp_path: Path) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text('<project xmlns="http://maven.apache.org/POM/4.0.0"/>')
    with pytest.raises(BrokerError, match=r"kafka\.version"):
        apache.pinned_version(pom)

"""Connections of every kind to the real broker, and what is said when one is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from streams import logs
from streams.brokers.process import HOST
from streams.cli import demo
from streams.errors import AccessError, BrokerError, SettingsError
from streams.settings import Kafka, load
from streams.topics import PLAYS
from streams.transport.admin import partition_counts
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import end_offsets, partition_reader
from streams.transport.security import client_arguments, credentials
from tests.access.certificates import Authority
from tests.access.conftest import PARTITIONS
from tests.access.secured import SecuredBroker

Way = Callable[[SecuredBroker], dict[str, str]]

WAYS: dict[str, Way] = {
    "TLS": lambda broker: broker.encrypted(),
    "mutual TLS": lambda broker: broker.by_certificate("client"),
    "TLS and SCRAM-SHA-512": lambda broker: broker.by_password("client"),
    "TLS and SCRAM-SHA-256": lambda broker: broker.by_password("client", "SCRAM-SHA-256"),
    "TLS and PLAIN": lambda broker: broker.by_password("client", "PLAIN"),
    "SCRAM-SHA-512": lambda broker: broker.in_clear("client", "SCRAM-SHA-512"),
    "PLAIN": lambda broker: broker.in_clear("client", "PLAIN"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_client_connects_in_every_way(way: str, secured: SecuredBroker) -> None:
    kafka = load(**WAYS[way](secured)).kafka
    assert (await partition_counts(kafka))[PLAYS.name] == PARTITIONS
    async with partition_reader(kafka) as reader:
        before = (await end_offsets(reader, PLAYS.name))[0]
        async with open_producer(kafka, idempotent=True) as producer:
            assert await send_records(producer, PLAYS.name, 0, [None], [b"way"]) > before


WRONG = "pa55-of-nobody"

REFUSED: dict[str, tuple[Way, str]] = {
    "another password, SCRAM": (
        lambda broker: broker.by_password("client") | {"sasl_password": WRONG},
        "SASL_PASSWORD",
    ),
    "another password, PLAIN": (
        lambda broker: broker.by_password("client", "PLAIN") | {"sasl_password": WRONG},
        "SASL_PASSWORD",
    ),
    "nobody's name": (
        lambda broker: broker.by_password("client") | {"sasl_username": "nobody"},
        "SASL_USERNAME",
    ),
    "a mechanism that the listener does not offer": (
        lambda broker: broker.in_clear("client", "SCRAM-SHA-256"),
        "SASL_MECHANISM",
    ),
    "an authority that only others trust": (
        lambda broker: {k: v for k, v in broker.encrypted().items() if k != "tls_ca_file"},
        "TLS_CA_FILE",
    ),
    "a name that is not in the certificate": (
        lambda broker: broker.encrypted() | {"brokers": f"localhost:{broker.ports['TLS']}"},
        "BROKERS",
    ),
    "no certificate where one is asked for": (
        lambda broker: broker.encrypted() | {"brokers": f"{HOST}:{broker.ports['MUTUAL']}"},
        "TLS_CERTIFICATE_FILE",
    ),
    "no TLS where there is": (
        lambda broker: {"brokers": f"{HOST}:{broker.ports['TLS']}"},
        "SECURITY_PROTOCOL",
    ),
    "TLS where there is none": (
        lambda broker: broker.encrypted() | {"brokers": broker.address},
        "SECURITY_PROTOCOL",
    ),
    "no login where one is asked for": (
        lambda broker: broker.encrypted() | {"brokers": f"{HOST}:{broker.ports['LOGIN']}"},
        "SECURITY_PROTOCOL",
    ),
    "a login where there is none": (
        lambda broker: broker.by_password("client") | {"brokers": f"{HOST}:{broker.ports['TLS']}"},
        "SECURITY_PROTOCOL",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refused_connection_names_the_setting_and_no_password(
    case: str, secured: SecuredBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    way, setting = REFUSED[case]
    kafka = load(**way(secured)).kafka
    with pytest.raises(AccessError) as caught:
        await partition_counts(kafka)
    assert f"SOTTOVOCE_{setting}" in caught.value.remedy
    said = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {kafka!r} {caplog.text}"
    assert WRONG not in said
    assert not any(password in said for password in secured.passwords.values())


async def test_every_opener_says_why(secured: SecuredBroker) -> None:
    kafka = load(**secured.by_password("client") | {"sasl_password": WRONG}).kafka
    with pytest.raises(AccessError, match="login"):
        async with partition_reader(kafka):
            pass
    with pytest.raises(AccessError, match="login"):
        async with open_producer(kafka, idempotent=True):
            pass


async def test_a_strangers_certificate_is_refused(secured: SecuredBroker, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    own = {"tls_certificate_file": str(stranger.issue("client"))}
    with pytest.raises(AccessError, match="certificate"):
        await partition_counts(load(**secured.by_certificate("client") | own).kafka)


async def test_the_key_of_a_certificate_may_have_a_password(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    own = secured.by_certificate("client")
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(f"{WRONG}\n")
    own["tls_certificate_file"] = str(secured.authority.issue("client", password=WRONG))
    with pytest.raises(SettingsError, match="TLS_KEY_PASSWORD_FILE"):
        client_arguments(load(**own).kafka)
    await partition_counts(load(**own, tls_key_password_file=password).kafka)
    password.write_text("another")
    with pytest.raises(SettingsError, match="TLS_KEY_PASSWORD_FILE"):
        client_arguments(load(**own, tls_key_password_file=password).kafka)


async def test_nobody_at_the_address_is_no_matter_of_access(secured: SecuredBroker) -> None:
    gone = load(**secured.by_password("client") | {"brokers": f"{HOST}:1,{HOST}:2"}).kafka
    with pytest.raises(BrokerError, match="does not answer") as caught:
        await partition_counts(gone)
    assert not isinstance(caught.value, AccessError)


def test_a_password_may_stand_in_a_file_that_others_cannot_open(tmp_path: Path) -> None:
    file = tmp_path / "password"
    login = {"security_protocol": "sasl_plaintext", "sasl_username": "gate"}
    kafka = load(**login, sasl_password_file=file).kafka
    with pytest.raises(SettingsError, match="SASL_PASSWORD_FILE"):
        client_arguments(kafka)
    file.write_text(f"{WRONG}\n")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match=r"others|other users"):
        client_arguments(kafka)
    file.chmod(0o640)
    assert client_arguments(kafka)["sasl_plain_password"] == WRONG
    assert WRONG not in repr(credentials(kafka))


@pytest.mark.parametrize("name", ["tls_ca_file", "tls_certificate_file", "tls_key_file"])
def test_a_file_that_is_missing_or_is_no_certificate_is_named(name: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    files = {
        "tls_ca_file": str(authority.certificate),
        "tls_certificate_file": str(authority.issue("gate")),
        "tls_key_file": str(authority.issue("other")),
    }
    del files["tls_key_file"]
    for wrong in (tmp_path / "missing", tmp_path / "empty"):
        (tmp_path / "empty").touch(0o600)
        kafka = load(security_protocol="ssl", **(files | {name: str(wrong)})).kafka
        with pytest.raises(SettingsError, match=f"SOTTOVOCE_{name.upper()}"):
            client_arguments(kafka)


def test_debugging_does_not_log_the_login() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure(load(log_level="debug"))
        # At the level of debugging aiokafka logs each request, and a login is one.
        assert not logging.getLogger("aiokafka.conn").isEnabledFor(logging.DEBUG)
    finally:
        root.handlers[:], root.level = handlers, level


async def test_the_demo_does_not_pretend_that_its_own_broker_is_secured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOTTOVOCE_SECURITY_PROTOCOL", "ssl")
    plan = demo.Plan((), 1, 1, 1, 1, tmp_path, apache=False, brokers=None)
    with pytest.raises(SettingsError, match="security_protocol"):
        async with demo._broker(plan):
            pass


def test_a_connection_says_nothing_of_its_password() -> None:
    settings = load(security_protocol="sasl_ssl", sasl_username="gate", sasl_password=WRONG)
    assert WRONG not in f"{settings!r} {settings.kafka!r} {settings.kafka}"
    assert settings.kafka.sasl_password is not None
    assert Kafka("host:1").security_protocol == "plaintext"

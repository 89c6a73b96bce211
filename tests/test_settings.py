"""Settings: where they come from, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import SaslMechanism, SecurityProtocol, Settings, load

SECRET = "5eb0c1" * 10 + "abcd"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_environment_wins_over_file_and_arguments_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sottovoce.toml").write_text('brokers = "file:1"\npartitions = 7\n')
    monkeypatch.setenv("SOTTOVOCE_BROKERS", "environment:1")
    settings = load()
    assert (settings.brokers, settings.partitions) == ("environment:1", 7)
    assert load(brokers="argument:1").brokers == "argument:1"


def test_the_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text("min_listeners = 50\n")
    monkeypatch.setenv("SOTTOVOCE_CONFIG", str(tmp_path / "other.toml"))
    assert load().min_listeners == 50
    monkeypatch.setenv("SOTTOVOCE_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(SettingsError, match="SOTTOVOCE_CONFIG"):
        load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partitions", "0"),
        ("partitions", "many"),
        ("listen_rule", "mine"),
        ("log_level", "loud"),
        ("min_listeners", "0"),
        ("checkpoint_s", "0"),
        ("web_port", "70000"),
    ],
)
def test_a_malformed_setting_is_named_and_its_value_is_not(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SOTTOVOCE_{name.upper()}", value)
    with pytest.raises(SettingsError, match=name) as caught:
        load()
    assert value not in str(caught.value).replace("0 ", "") or value == "0"


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOTTOVOCE_BROKER", "typo:9092")
    with pytest.raises(SettingsError, match="SOTTOVOCE_BROKER"):
        load()


def test_settings_are_checked_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="key_file"):
        load(key=SECRET, key_file=tmp_path / "key.hex")
    with pytest.raises(SettingsError, match="profile_items"):
        load(profile_items=65)


TLS = {"security_protocol": "ssl"}
LOGIN = {"security_protocol": "sasl_ssl", "sasl_username": "gate", "sasl_password": SECRET}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"tls_ca_file": "ca.pem"}, "security_protocol"),
        ({"sasl_username": "gate"}, "security_protocol"),
        (TLS | {"sasl_password": SECRET}, "security_protocol"),
        (TLS | {"tls_key_file": "key.pem"}, "tls_certificate_file"),
        (TLS | {"tls_key_password_file": "password"}, "tls_certificate_file"),
        ({"security_protocol": "sasl_ssl", "sasl_password": SECRET}, "sasl_username"),
        ({"security_protocol": "sasl_ssl", "sasl_username": "gate"}, "sasl_password_file"),
        (LOGIN | {"sasl_password_file": "password"}, "sasl_password_file"),
        (LOGIN | {"sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
        (
            LOGIN | {"security_protocol": "sasl_plaintext", "sasl_mechanism": "PLAIN"},
            "sasl_in_clear",
        ),
        (LOGIN | {"security_protocol": "sasl_plaintext", "tls_ca_file": "x"}, "tls_ca_file"),
    ],
)
def test_a_connection_that_is_not_what_it_seems_is_refused(
    given: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        load(**given)
    assert SECRET not in str(caught.value)


def test_a_connection_is_named_as_kafka_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"SOTTOVOCE_{name.upper()}", value)
    monkeypatch.setenv("SOTTOVOCE_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("SOTTOVOCE_SASL_MECHANISM", "scram-sha-256")
    kafka = load(brokers="kafka:9093").kafka
    assert kafka.brokers == "kafka:9093"
    assert kafka.security_protocol is SecurityProtocol.SASL_PLAINTEXT
    assert kafka.sasl_mechanism is SaslMechanism.SCRAM_SHA_256
    assert load().model_copy(update={"brokers": "other:1"}).kafka.brokers == "other:1"


def test_a_broken_file_is_an_error_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "sottovoce.toml").write_text(f'key = "{SECRET}\n')
    with pytest.raises(SettingsError) as caught:
        load()
    assert SECRET not in str(caught.value)


def test_the_key_shows_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    from streams.cli import describe

    settings = load(key=SECRET, **LOGIN)
    describe.settings(settings)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.kafka!r}"
    assert SECRET not in capsys.readouterr().out


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name

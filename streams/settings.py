"""Settings: the environment (``SOTTOVOCE_*``) over an optional TOML file, typed, checked together.

The file is ``sottovoce.toml`` in the working directory, or the one ``SOTTOVOCE_CONFIG`` names. This
module is the only one that reads the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streams.errors import SettingsError

CONFIG_VARIABLE = "SOTTOVOCE_CONFIG"
PREFIX = "SOTTOVOCE_"
_PACKAGED = Path(__file__).parent / "_data"
_CHECKOUT = Path(__file__).parent.parent


def bundled(name: str) -> Path:
    """Folder ``name`` (``schemas``, ``sql``) as installed with the package, or of the checkout."""
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _CHECKOUT / name


class ListenRule(StrEnum):
    """When a play counts as a listen."""

    LASTFM = "lastfm"
    """Track longer than 30 s, heard at least half or 4 minutes, whichever is less."""
    LISTENBRAINZ = "listenbrainz"
    """Heard at least half or 4 minutes, whichever is less."""
    SPOTIFY = "spotify"
    """Heard for more than 30 s."""
    ALL = "all"
    """Every play."""


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


class _AnyCase(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> _AnyCase | None:
        wanted = str(value).casefold()
        return next((each for each in cls if each.casefold() == wanted), None)


class SecurityProtocol(_AnyCase):
    """How connections to Kafka are protected; Kafka's own names."""

    PLAINTEXT = "plaintext"
    """Not at all."""
    SSL = "ssl"
    """TLS; with a certificate of ours the broker knows us, too."""
    SASL_PLAINTEXT = "sasl_plaintext"
    """A login, without encryption."""
    SASL_SSL = "sasl_ssl"
    """TLS and a login."""

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL)

    @property
    def sasl(self) -> bool:
        """Whether there is a login."""
        return self in (SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL)


class SaslMechanism(_AnyCase):
    """How the password of a login is proven."""

    PLAIN = "PLAIN"
    """It is sent."""
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    """Challenge and response (RFC 7677)."""
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    """The same with SHA-512."""


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where Kafka is and how to connect to it; each field is the setting of that name."""

    brokers: str
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password_file: Path | None = None
    sasl_mechanism: SaslMechanism = SaslMechanism.SCRAM_SHA_512
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None


class Settings(BaseSettings):
    """Everything that can be set. Frozen: one value per name for the life of a process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    brokers: str = Field("127.0.0.1:9092", description="Kafka, as host:port, comma-separated.")
    security_protocol: SecurityProtocol = Field(
        SecurityProtocol.PLAINTEXT,
        description="Connection to Kafka: plaintext, ssl, sasl_plaintext or sasl_ssl.",
    )
    tls_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that vouch for Kafka's; unset: the system's."
    )
    tls_certificate_file: Path | None = Field(
        None, description="Our own certificate and its chain (PEM), for mutual TLS."
    )
    tls_key_file: Path | None = Field(
        None, description="Its private key (PEM), not open to others; unset: in the same file."
    )
    tls_key_password_file: Path | None = Field(
        None, description="File with the password of that key, not open to others."
    )
    sasl_mechanism: SaslMechanism = Field(
        SaslMechanism.SCRAM_SHA_512,
        description="Login at Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    )
    sasl_username: str | None = Field(None, description="User of the login at Kafka.")
    sasl_password: SecretStr | None = Field(None, description="Password of that user.")
    sasl_password_file: Path | None = Field(
        None, description="File with that password instead, not open to others."
    )
    sasl_in_clear: bool = Field(
        False, description="Allow PLAIN without TLS, where the network itself encrypts."
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4, description="Partitions of each topic that `topics create` makes."
    )
    replication: Annotated[int, Field(ge=1, le=32_767)] = Field(
        1, description="Replicas of each partition that `topics create` makes."
    )
    registry_url: str | None = Field(
        None, description="Schema registry with the Confluent API; unset: ids from `schemas`."
    )
    schemas: Path = Field(
        default_factory=lambda: bundled("schemas"), description="Folder of Avro schemas and policy."
    )
    sql: Path = Field(default_factory=lambda: bundled("sql"), description="Folder of SQL.")
    key_file: Path | None = Field(
        None, description="File with the master key, 64 hexadecimal digits, readable by its owner."
    )
    key: SecretStr | None = Field(None, description="The master key itself, instead of a file.")
    key_ring: Path | None = Field(
        None, description="File of the epochs' sealed seeds; unset: key_file with .ring appended."
    )
    vault_url: str | None = Field(
        None, description="HashiCorp Vault whose transit engine seals the ring, instead of a key."
    )
    vault_key: str = Field("sottovoce", description="Name of the key in Vault's transit engine.")
    vault_token_file: Path | None = Field(
        None, description="File with the Vault token, readable by its owner."
    )
    rotation_overlap_s: Annotated[float, Field(ge=0)] = Field(
        7 * 86_400, description="How long an old key epoch lives on after a rotation, seconds."
    )
    listen_rule: ListenRule = Field(
        ListenRule.LISTENBRAINZ, description="When a play counts as a listen."
    )
    earliest: Annotated[int, Field(ge=0)] = Field(
        946_684_800, description="Plays that started before this are rejected, Unix seconds."
    )
    future_tolerance_s: Annotated[int, Field(ge=0)] = Field(
        300, description="Plays that start later than the clock plus this are rejected, seconds."
    )
    largest_play: Annotated[int, Field(ge=1_000, le=500_000)] = Field(
        65_536, description="Plays larger than this are rejected, bytes."
    )
    rejected_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="The gate stops when more than this share of `rejected_window` is rejected; 1:"
        " never.",
    )
    rejected_window: Annotated[int, Field(ge=1)] = Field(
        1_000, description="The newest plays of a partition, of which that is a share."
    )
    duplicate_horizon: Annotated[int, Field(ge=0)] = Field(
        200_000,
        description="Listens of a partition among which a repeated event id is recognized.",
    )
    top_artists: Annotated[int, Field(ge=1, le=10_000)] = Field(
        64, description="Artists kept per listener."
    )
    top_genres: Annotated[int, Field(ge=1, le=10_000)] = Field(
        32, description="Genres kept per listener."
    )
    profile_items: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="Top artists and genres per term in an emitted profile."
    )
    batch_records: Annotated[int, Field(ge=1)] = Field(
        50_000, description="Records a batch holds at most; else it is what one fetch brought."
    )
    held_mb: Annotated[int, Field(ge=1)] = Field(
        128, description="Memory of records fetched and not finished at which fetching pauses, MB."
    )
    checkpoint_s: Annotated[float, Field(gt=0)] = Field(
        2.0, description="Longest time between checkpoints of taste and report, seconds."
    )
    checkpoint_listens: Annotated[int, Field(ge=1)] = Field(
        200_000, description="Listens after which a checkpoint comes early."
    )
    release_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Time between releases that the report worker publishes, seconds."
    )
    warehouse_mb: Annotated[int, Field(ge=64)] = Field(
        1_024, description="Memory the report worker's DuckDB uses before it spills to disk, MB."
    )
    rewrite_s: Annotated[float, Field(ge=0)] = Field(
        60.0, description="Longest time until the warehouse is rewritten after an erasure, seconds."
    )
    min_listeners: Annotated[int, Field(ge=1)] = Field(
        20, description="Distinct listeners a published cell needs at least."
    )
    data: Path = Field(Path("var"), description="Folder of the warehouse and what is released.")
    web_host: str = Field("127.0.0.1", description="Address the workers' health page binds to.")
    web_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        0, description="Its port; 0: 8081 gate, 8082 taste, 8083 report."
    )
    idempotence: bool = Field(
        True, description="Producers ask Kafka to drop what a retry sent twice; off for `broker`."
    )
    stall_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="A worker with lag and no progress for this long is not ready, seconds."
    )
    stall_exit_s: Annotated[float, Field(gt=0)] = Field(
        300.0, description="A worker that stands still for this long with lag exits, seconds."
    )
    instance: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,200}$")] | None = Field(
        None, description="Name of this worker in its group over restarts: none rebalances then."
    )
    session_timeout_s: Annotated[float, Field(ge=1, le=90)] = Field(
        10.0, description="Kafka group session timeout, seconds; 45 with `instance`."
    )
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = Field(
        "info", description="Least severe log line shown: debug, info, warning or error."
    )
    log_format: LogFormat = Field(LogFormat.JSON, description="json, or text for a terminal.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file."""
        file = os.environ.get(CONFIG_VARIABLE) or "sottovoce.toml"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)

    @model_validator(mode="after")
    def _one_key(self) -> Settings:
        masters = ("key", "key_file", "vault_url")
        given = [name for name in masters if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are set together; keep one")
        if self.profile_items > self.top_artists:
            raise ValueError("profile_items is larger than top_artists; lower it")
        return self

    @model_validator(mode="after")
    def _connection(self) -> Settings:
        protocol = self.security_protocol
        tls, sasl = self._given("tls_"), self._given("sasl_")
        if tls and not protocol.tls:
            raise ValueError(f"{tls[0]} is set, but security_protocol is {protocol}, without TLS")
        if "tls_certificate_file" not in tls and (own := {*tls} - {"tls_ca_file"}):
            raise ValueError(f"{min(own)} is set, but tls_certificate_file is not")
        if not protocol.sasl:
            if sasl:
                raise ValueError(
                    f"{sasl[0]} is set, but security_protocol is {protocol}, without a login"
                )
            return self
        if self.sasl_username is None:
            raise ValueError(f"security_protocol is {protocol}, but sasl_username is not set")
        if (self.sasl_password is None) == (self.sasl_password_file is None):
            raise ValueError("set one of sasl_password and sasl_password_file")
        if self.sasl_mechanism is SaslMechanism.PLAIN and not (protocol.tls or self.sasl_in_clear):
            raise ValueError(
                "sasl_mechanism PLAIN would send the password readable over sasl_plaintext; use "
                "sasl_ssl or SCRAM, or set sasl_in_clear where the network itself encrypts"
            )
        return self

    def _given(self, prefix: str) -> list[str]:
        """Optional settings of that prefix that are set."""
        names = (name for name in type(self).model_fields if name.startswith(prefix))
        return [
            name
            for name in names
            if type(self).model_fields[name].default is None and getattr(self, name) is not None
        ]

    @property
    def kafka(self) -> Kafka:
        """Where Kafka is and how to connect to it."""
        return Kafka(**{name: getattr(self, name) for name in Kafka.__slots__})

    @cached_property
    def warehouse(self) -> Path:
        """The DuckDB file that only the report worker opens."""
        return self.data / "warehouse" / "warehouse.duckdb"

    @cached_property
    def released(self) -> Path:
        """The DuckDB file that analysts open."""
        return self.data / "reporting.duckdb"

    @cached_property
    def policy(self) -> Path:
        """The policy file."""
        return self.schemas / "policy.toml"


def load(**overrides: Any) -> Settings:
    """Read and check all settings; ``overrides`` win over environment and file.

    Raises:
        SettingsError: a value is malformed, unknown or contradicts another. Names the setting and
            the rule, never the value.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named and not Path(named).is_file():
        raise SettingsError(
            f"{CONFIG_VARIABLE} names a file that does not exist.", "Correct or unset it."
        )
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name != CONFIG_VARIABLE
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    )
    if unknown:
        raise SettingsError(
            f"Unknown settings in the environment: {', '.join(unknown)}.",
            "`sottovoce settings` lists those there are.",
        )
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(
            f"Settings do not hold: {problems}.",
            f"Set {PREFIX}<NAME> or correct the TOML file; `sottovoce settings` explains each.",
        ) from None
    except ValueError as error:  # the TOML file itself does not parse
        raise SettingsError(f"The settings file cannot be read: {error}.", "Correct it.") from None

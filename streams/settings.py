"""Settings: the environment (``SOTTOVOCE_*``) over an optional TOML file, typed, checked together.

The file is ``sottovoce.toml`` in the working directory, or the one ``SOTTOVOCE_CONFIG`` names. This
module is the only one that reads the environment.
"""

from __future__ import annotations

import os
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


class Settings(BaseSettings):
    """Everything that can be set. Frozen: one value per name for the life of a process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    brokers: str = Field("127.0.0.1:9092", description="Kafka, as host:port, comma-separated.")
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
    checkpoint_s: Annotated[float, Field(gt=0)] = Field(
        2.0, description="Longest time between checkpoints of taste and report, seconds."
    )
    checkpoint_listens: Annotated[int, Field(ge=1)] = Field(
        200_000, description="Listens after which a checkpoint comes early."
    )
    release_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Time between releases that the report worker publishes, seconds."
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
    session_timeout_s: Annotated[float, Field(ge=1)] = Field(
        10.0, description="Kafka group session timeout, seconds."
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

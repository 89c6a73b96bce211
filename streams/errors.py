"""Every error this package raises on purpose.

::

    SottoVoceError            an operator can act on it: the message names the remedy
    ├── SettingsError         a setting is missing, malformed or contradicts another
    ├── SchemaError           a schema file cannot be read, resolved or kept compatible
    ├── PolicyError           a tag, treatment or lookup is missing, unknown or does not fit
    ├── KeyMaterialError      master key, ring or Vault: missing, weak, readable by others, refused
    ├── BrokerError           Kafka cannot be reached, or a topic is missing or misconfigured
    │   ├── AccessError       Kafka refuses our login, certificate or what we ask for
    │   └── TakenOver         another worker has what this one was writing
    ├── RegistryError         the schema registry cannot be reached or refuses
    │   └── UnknownSchemaId   the registry answered: no schema has this id
    ├── TooManyRejected       so many records are rejected that something else must be wrong
    ├── StateError            changelog or positions contradict each other
    ├── WarehouseError        the warehouse is held by another process, too old or damaged
    ├── Stalled               a worker stands still though there is work
    ├── SourceError           a history file is missing or of no known format
    └── InternalError         a fault of this program; says where, not with what data

A record that cannot be processed is not an exception but a value: a `Reason` (closed list below)
with a detail that names a field or rule. Messages never carry a field's value.
"""

from __future__ import annotations

from enum import StrEnum


class SottoVoceError(Exception):
    """An error with its remedy: ``str(error)`` is one or two sentences for an operator."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class SettingsError(SottoVoceError):
    """A setting is missing, malformed or contradicts another."""


class SchemaError(SottoVoceError):
    """A schema file cannot be read, resolved or kept compatible."""


class PolicyError(SottoVoceError):
    """A tag, treatment or lookup is missing, unknown or does not fit its field."""


class KeyMaterialError(SottoVoceError):
    """Master key, key ring or Vault: missing, weak, readable by others, or it refuses."""


class BrokerError(SottoVoceError):
    """Kafka cannot be reached, or a topic is missing or misconfigured."""


class AccessError(BrokerError):
    """Kafka refuses our login, certificate or what we ask for, or shows one nobody trusts."""


class TakenOver(BrokerError):
    """Another worker has what this one was writing, and nothing of what it last sent is there."""


class RegistryError(SottoVoceError):
    """The schema registry cannot be reached or refuses."""


class UnknownSchemaId(RegistryError):
    """The registry answered that no schema has this id."""


class TooManyRejected(SottoVoceError):
    """More of the last records would be rejected than allowed. Nothing of them was written."""


class StateError(SottoVoceError):
    """Changelog or positions contradict each other."""


class WarehouseError(SottoVoceError):
    """The warehouse is held by another process, too old or damaged."""


class Stalled(SottoVoceError):
    """A worker stands still though there is work. It exits and is started anew."""


class SourceError(SottoVoceError):
    """A history file is missing or of no known format."""


class InternalError(SottoVoceError):
    """A fault of this program. Says type and place only: another message might quote a value."""


class Reason(StrEnum):
    """Why a record went to ``plays.rejected``. The record and the metric carry the value."""

    MALFORMED = "malformed"
    """The value is empty or does not start with magic byte and schema id."""
    UNKNOWN_SCHEMA = "unknown-schema"
    """The registry knows no schema of that id."""
    UNPLANNABLE_SCHEMA = "unplannable-schema"
    """The writer schema cannot yield a listen under the policy."""
    OVERSIZED = "oversized"
    """The record is larger than allowed."""
    UNDECODABLE = "undecodable"
    """The body does not match its writer schema."""
    MISSING_FIELD = "missing-field"
    """A field that a listen needs is empty."""
    IMPOSSIBLE_TIME = "impossible-time"
    """The play started before the earliest or after the latest time allowed."""
    INVALID_VALUE = "invalid-value"
    """A value is outside its range."""

"""Assembles a role from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from streams.agents.codecs import Codecs
from streams.agents.role import Role
from streams.avro import schemas as schema_files
from streams.avro.registry import HttpRegistry, LocalRegistry, Registry
from streams.errors import SettingsError
from streams.settings import Settings

PORTS = {"gate": 8081, "taste": 8082, "report": 8083}


def port_of(settings: Settings, name: str) -> int:
    """Port of the role's health page."""
    return settings.web_port or PORTS[name]


@asynccontextmanager
async def open_codecs(settings: Settings) -> AsyncIterator[Codecs]:
    """Schemas and the registry the settings name, for a command."""
    codecs = codecs_of(settings)
    try:
        yield codecs
    finally:
        await codecs.close()


def codecs_of(settings: Settings) -> Codecs:
    """The same for a role, which closes them when it stops."""
    schemas = schema_files.load(settings.schemas)
    registry: Registry = (
        HttpRegistry(settings.registry_url) if settings.registry_url else LocalRegistry(schemas)
    )
    return Codecs(schemas, registry)


def build(settings: Settings, name: str) -> Role:
    """The role ``gate``, ``taste`` or ``report``.

    Raises:
        SottoVoceError: what the role needs is missing or wrong; the message names the remedy.
    """
    builders: dict[str, Callable[[Settings, Codecs], Role]] = {
        "gate": _gate,
        "taste": _taste,
        "report": _report,
    }
    if name not in builders:
        raise SettingsError(f"There is no role {name}.", f"Roles: {', '.join(builders)}.")
    return builders[name](settings, codecs_of(settings))


# Each role imports its own half of the package: the taste worker never loads the key's code, nor
# the gate the warehouse's.


def _gate(settings: Settings, codecs: Codecs) -> Role:
    from streams.agents.gate import Gate
    from streams.privacy import policy

    return Gate(settings, codecs, policy.load(settings.policy))


def _taste(settings: Settings, codecs: Codecs) -> Role:
    from streams.agents.taste import Taste

    return Taste(settings, codecs)


def _report(settings: Settings, codecs: Codecs) -> Role:
    from streams.agents.report import Report

    return Report(settings, codecs)

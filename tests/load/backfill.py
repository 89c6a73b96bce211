"""Ten years of history imported beside live traffic: ``python -m tests.load.backfill``.

Real Apache Kafka and the three workers. The import comes in the order of its files, its second half
in pieces out of order and with pieces that were sent before; live plays of the same people come at
a rate meanwhile. When all has arrived, every profile and every mart must be what a plain recount of
all plays gives. Says how long after the last play that was.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.brokers.apache import ApacheBroker
from streams.brokers.process import Broker
from streams.cli import produce
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.sources.play import Play
from streams.sources.rate import paced
from streams.sources.simulate import Simulation
from streams.topics import REJECTED
from streams.warehouse.release import publish
from streams.warehouse.store import Warehouse
from tests.chaos.history import listen_of
from tests.load.pressure import JARS
from tests.taste.recount import recount
from tests.warehouse import recount as marts
from tests.warehouse.released import SQL, read
from tests.whole.compare import differences
from tests.whole.system import ROLES, System, running
from tests.whole.test_exactly_once import Pseudonyms, profiles

YEARS = 10
LIVE_DAYS = 2
PIECE = 250
"""Plays that are sent together."""
AGAIN = 0.2
"""Share of the import that is sent a second time."""
SETTINGS: dict[str, Any] = {"top_artists": "10000", "top_genres": "10000"}
"""Nothing is pruned, so that profiles equal the recount to the last artist."""
err = Console(stderr=True)


@dataclass(frozen=True)
class Plays:
    """Plays of ten years, and of the last days, of the same listeners."""

    imported: int
    live: int
    listeners: int
    rate: float
    seed: int = 11
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def live_traffic(self) -> Simulation:
        """What comes in while the import runs; it ends today."""
        today = self.now.date()
        return Simulation(today, self.listeners, LIVE_DAYS, self.live, self.seed)

    @property
    def history(self) -> Simulation:
        """What is imported: it ends where live traffic begins."""
        until = self.now.date() - timedelta(days=LIVE_DAYS)
        return Simulation(until, self.listeners, YEARS * 365, self.imported, self.seed)

    def import_pieces(self) -> Iterator[list[Play]]:
        """The import as it is sent: half of it in order, then out of order, some of it again."""
        pieces = list(_pieces(self.history.chunks()))
        ordered, rest = pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]
        draw = random.Random(self.seed)
        rest += draw.sample(pieces, round(AGAIN * len(pieces)))
        draw.shuffle(rest)
        yield from ordered
        yield from rest

    def once(self) -> list[Play]:
        """Every event that a gate lets through, once."""
        chunks = (*self.history.chunks(), *self.live_traffic.chunks())
        events = {play["event_id"]: play for chunk in chunks for play in chunk}
        return [play for play in events.values() if not play["private_session"]]


def _pieces(chunks: Iterable[list[Play]]) -> Iterator[list[Play]]:
    for chunk in chunks:
        for at in range(0, len(chunk), PIECE):
            yield chunk[at : at + PIECE]


@dataclass(slots=True)
class Outcome:
    """How long it took, seconds, and what was found wrong: nothing, if all is well."""

    sent: int = 0
    sending_s: float = 0.0
    arrived_s: float = 0.0
    """After the last play was sent."""
    problems: list[str] = field(default_factory=list)


async def backfill(broker: Broker, folder: Path, plays: Plays) -> Outcome:
    """Run it on a broker of its own and compare."""
    outcome = Outcome()
    idempotence = isinstance(broker, ApacheBroker)
    data = folder / "data"
    async with running(broker.address, data, idempotence=idempotence, **SETTINGS) as system:
        await produce.send_catalogue(system.settings, plays.history.catalogue())
        await system.start()
        began = time.monotonic()
        imported, live = await asyncio.gather(
            produce.send_plays(system.settings, plays.import_pieces(), lambda _: None),
            produce.send_plays(
                system.settings, paced(plays.live_traffic.chunks(), plays.rate), lambda _: None
            ),
        )
        outcome.sent = imported.plays + live.plays
        outcome.sending_s = round(time.monotonic() - began, 1)
        await system.arrived(
            {
                number: max(imported.ends.get(number, 0), live.ends.get(number, 0))
                for number in imported.ends.keys() | live.ends.keys()
            }
        )
        outcome.arrived_s = round(time.monotonic() - began - outcome.sending_s, 1)
        for role in ROLES:
            if await system.terminate(role):
                outcome.problems.append(f"{role} did not stop as it should")
        if await system.records(REJECTED.name):
            outcome.problems.append("plays were rejected")
        outcome.problems += await wrong_profiles(system, plays)
    outcome.problems += await asyncio.to_thread(wrong_marts, system, plays)
    return outcome


def listens(system: System, plays: Plays, audience: str) -> list[dict[str, Any]]:
    """What the gate must have made of all plays for an audience."""
    pseudonyms = Pseudonyms(system.settings, audience)
    genres = {name.strip().lower(): kinds for name, kinds in plays.history.catalogue()}
    return [listen_of(each, pseudonyms.of(each["user_id"]), 1, genres) for each in plays.once()]


async def wrong_profiles(system: System, plays: Plays) -> list[str]:
    """Where a profile is not the recount's, by path."""
    found = await profiles(system)
    items = system.settings.profile_items
    expected = recount(listens(system, plays, PRODUCT), items=items)
    if found.keys() != expected.keys():
        return [f"{len(found)} profiles, not {len(expected)}"]
    return [
        each
        for number, name in enumerate(sorted(expected))
        for each in differences(found[name], expected[name], f"profile {number}")
    ]


def wrong_marts(system: System, plays: Plays) -> list[str]:
    """Where a mart that holds nothing back is not the recount's."""
    settings = system.settings
    with Warehouse(settings.warehouse, SQL) as warehouse:
        publish(warehouse, SQL, settings.released, 1, plays.now)
    published = read(settings.released)
    problems = []
    for mart, rows in marts.marts(listens(system, plays, ANALYTICS)).items():
        shown, counted = marts.by_key(mart, published[mart]), marts.by_key(mart, rows)
        if shown.keys() != counted.keys():
            problems.append(f"{mart}: {len(shown)} rows, not {len(counted)}")
            continue
        wrong = sum(not marts.same(shown[key], row) for key, row in counted.items())
        if wrong:
            problems.append(f"{mart}: {wrong} of {len(counted)} rows differ")
    return problems


async def _alone(folder: Path, plays: Plays) -> Outcome:
    async with ApacheBroker(JARS.absolute()) as broker:
        return await backfill(broker, folder, plays)


def main() -> int:
    """Parse arguments, run, report; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plays", type=int, default=300_000, help="of the import")
    parser.add_argument("--live", type=int, default=20_000, help="live plays")
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--rate", type=float, default=500, help="live plays a second")
    args = parser.parse_args()
    plays = Plays(args.plays, args.live, args.listeners, args.rate)
    with tempfile.TemporaryDirectory(prefix="sottovoce-backfill-") as folder:
        outcome = asyncio.run(_alone(Path(folder), plays))
    err.print(
        f"{outcome.sent:,} plays sent in {outcome.sending_s} s, all in profiles and marts "
        f"{outcome.arrived_s} s after the last"
    )
    for problem in outcome.problems[:20]:
        err.print(f"[red]{problem}[/]")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())

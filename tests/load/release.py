"""Releases of many listeners' facts: ``python -m tests.load.release``.

Draws the facts of 90 days of a million listeners into a warehouse (ten minutes, and 5 GB of disk;
``--folder`` keeps them, and what the run adds, for the next run). Then it publishes: all counted
anew, as after an upgrade; what one checkpoint added, some of it late; a day of everybody; an
erasure. Appends go on beside each release. Says how long each stage took, how long appends waited
and how much memory it took.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streams.settings import Settings, load
from streams.warehouse import release, totals
from streams.warehouse.facts import FACTS, Partials
from streams.warehouse.people import Changes
from streams.warehouse.store import Positions, Warehouse
from tests.load.audience import Audience
from tests.load.clock import Clock

SQL = Path(__file__).parents[2] / "sql"
RESULT = Path("var/load/release.json")
FIRST = date(2026, 1, 5)
SHARE, LATE = 0.01, 0.001
"""Of who plays on a day, who is in a checkpoint; and in it with plays of weeks ago."""
EVERY_S = 1.0
"""Between appends beside a release."""
_MB = 2**20
err = Console(stderr=True)


@dataclass
class Measured:
    """What one release took; seconds and MB.

    ``changed`` are the listeners with facts that the release before did not have; ``appends_s`` the
    appends beside it, by length.
    """

    name: str
    changed: int
    seconds: float
    stages: dict[str, float]
    peak_rss_mb: float
    released_mb: float
    rows: dict[str, int]
    appends_s: list[float] = field(default_factory=list)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--listeners", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--memory", type=int, help="warehouse_mb; as the worker has it if not given"
    )
    parser.add_argument("--folder", type=Path, help="where the facts stay, and are taken up again")
    parser.add_argument("--draw-s", type=float, help="stop drawing facts after so many seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(arguments, arguments.folder or Path(scratch))


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Draw, release, tell."""
    settings = load(data=folder)
    memory = arguments.memory or settings.warehouse_mb
    who = arguments.listeners, arguments.days, FIRST, arguments.seed
    with Warehouse(settings.warehouse, SQL, memory) as warehouse, warehouse.reading() as cursor:
        if not _drawn(Audience(cursor, *who), arguments.draw_s):
            sys.exit("Not all days are drawn yet: run it again with the same folder.")
    result: dict[str, Any] = {
        "listeners": arguments.listeners,
        "days": arguments.days,
        "memory_mb": memory,
    }
    with Warehouse(settings.warehouse, SQL, memory) as warehouse:
        with _timed(result, "compact_s"):
            warehouse.compact()
        result |= _size(warehouse, settings.warehouse)
        err.print(result)
        with warehouse.reading() as cursor:
            audience = Audience(cursor, *who)
            audience.prepare()
            day = arguments.days
            some = [audience.partials(day, SHARE), audience.partials(day - 30, LATE)]
            whole_day = [audience.partials(day, 1.0)]
            beside = [audience.partials(day + 1 + number, 0.0005) for number in range(10)]
            erased = dict(cursor.execute("SELECT listener, n FROM people LIMIT 3").fetchall())
            totals.forget(cursor)
        releases = Releases(warehouse, settings, beside)
        measured = [releases.publish("all facts")]
        releases.append(some)
        measured.append(releases.publish("one checkpoint more"))
        releases.append(whole_day)
        measured.append(releases.publish("a whole day more"))
        moment = datetime.combine(FIRST + timedelta(days=400), datetime.min.time(), UTC)
        with _timed(result, "erase_s"):
            gone = dict.fromkeys(erased, int(moment.timestamp() * 1_000))
            warehouse.carry_out(Changes(erased=gone), datetime.now(UTC))
        measured.append(releases.publish("after an erasure"))
    result["releases"] = [asdict(each) for each in measured]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    Console(width=150).print(_table(measured))


class Releases:
    """Publishes, with appends beside it."""

    def __init__(self, warehouse: Warehouse, settings: Settings, beside: list[Partials]) -> None:
        self._warehouse, self._settings, self._beside = warehouse, settings, beside
        self._offset = warehouse.positions().next_offset.get(0, 0)

    def append(self, partials: list[Partials]) -> float:
        """Append as one checkpoint; seconds it took."""
        began = time.monotonic()
        self._offset += 1
        self._warehouse.append(partials, Positions({0: self._offset}), {}, datetime.now(UTC))
        return time.monotonic() - began

    def publish(self, name: str) -> Measured:
        """A release of what there is."""
        clock, done, waits = Clock(), threading.Event(), [self.append(self._beside[:1])]

        def appending() -> None:
            number = 0
            while not done.wait(EVERY_S):
                number += 1
                waits.append(self.append([self._beside[number % len(self._beside)]]))

        changed = self._changed()
        thread = threading.Thread(target=appending)
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
        settings = self._settings
        with _staged(clock):
            thread.start()
            manifest = release.publish(
                self._warehouse,
                SQL,
                settings.released,
                settings.min_listeners,
                datetime.now(UTC),
            )
            done.set()
            thread.join()
        stages = {stage: round(seconds, 2) for stage, seconds in clock.wall.items()}
        stages["marts, files"] = round(manifest.seconds - sum(stages.values()), 2)
        measured = Measured(
            name,
            changed,
            manifest.seconds,
            stages,
            _peak_mb(),
            round(settings.released.stat().st_size / _MB, 1),
            manifest.rows,
            sorted(round(each, 3) for each in waits),
        )
        err.print(f"{name}: {measured.seconds:.1f} s")
        return measured

    def _changed(self) -> int:
        query = "SELECT coalesce(max(lot), -1) FROM kept_through"
        with self._warehouse.reading() as cursor:
            ((changed,),) = cursor.execute(
                f"SELECT count(DISTINCT listener) FROM listener_day WHERE lot > ({query})"
            ).fetchall()
        return int(changed)


def _drawn(audience: Audience, limit_s: float | None) -> bool:
    """Whether all days are, after drawing what is missing."""
    began = time.monotonic()
    audience.prepare()
    missing = audience.missing()
    for day in missing:
        if limit_s is not None and time.monotonic() - began > limit_s:
            return False
        audience.store(day)
        err.print(f"day {day}, {time.monotonic() - began:.0f} s")
    if len(missing):
        audience.restrict()
    return True


@contextmanager
def _staged(clock: Clock) -> Iterator[None]:
    """Have the stages of a release timed."""
    stages = {
        (totals, "count"): "totals",
        (totals, "keep"): "keep totals",
        (release, "hold_back"): "what is held",
    }
    asked = {place: getattr(*place) for place in stages}
    try:
        for place, stage in stages.items():
            setattr(*place, clock.timed(asked[place], stage))
        yield
    finally:
        for place, function in asked.items():
            setattr(*place, function)


@contextmanager
def _timed(result: dict[str, Any], name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    result[name] = round(time.monotonic() - began, 2)


def _size(warehouse: Warehouse, path: Path) -> dict[str, Any]:
    with warehouse.reading() as cursor:
        rows = {
            fact.table: cursor.execute(f"SELECT count(*) FROM {fact.table}").fetchall()[0][0]
            for fact in FACTS
        }
    return {"rows": rows, "warehouse_mb": round(path.stat().st_size / _MB)}


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1_024, 0)
    return 0.0


def _table(measured: list[Measured]) -> Table:
    table = Table(title="Releases")
    for name in (
        "release",
        "listeners changed",
        "s",
        "of it",
        "peak RSS, MB",
        "file, MB",
        "appends beside: n, median, max s",
    ):
        table.add_column(name)
    for each in measured:
        waits = each.appends_s
        table.add_row(
            each.name,
            f"{each.changed:,}",
            f"{each.seconds:.1f}",
            ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in each.stages.items()),
            f"{each.peak_rss_mb:.0f}",
            f"{each.released_mb}",
            f"{len(waits)}, {waits[len(waits) // 2]:.2f}, {waits[-1]:.2f}",
        )
    return table


if __name__ == "__main__":
    main()

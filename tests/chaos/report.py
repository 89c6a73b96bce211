"""What is to be run and what came of it: as values, as a table, as a file of results."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos import schedule
from tests.chaos.faults import KINDS, possible
from tests.chaos.supervisor import Exit
from tests.chaos.verdict import Difference

RESULTS = Path(__file__).parents[2] / "var" / "chaos" / "results.json"
SHOWN = 20
"""Differences that are shown one by one."""
out = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Plan:
    """Arguments of a run. ``rate`` is plays per second, ``drain_s`` the longest time after it."""

    seed: int
    seconds: float = 60.0
    partitions: int = 8
    nodes: int = 1
    faults: tuple[str, ...] = ()
    rate: float = 400.0
    listeners: int = 400
    drain_s: float = 180.0
    registry: bool = False

    def schedule(self) -> list[schedule.Fault]:
        """The faults of the run."""
        names = self.faults or tuple(possible(self.nodes, self.registry))
        return schedule.draw(self.seed, self.seconds, [KINDS[name] for name in names])


@dataclass
class Result:
    """What came of a run."""

    plan: Plan
    faults: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    client: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    exits: list[Exit] = field(default_factory=list)
    drained_s: float | None = None
    problems: list[str] = field(default_factory=list)
    """What failed besides differences: not drained, no release, a worker that did not stop."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and not self.problems


def show(result: Result) -> None:
    """The table, the exits that nobody asked for, the differences."""
    table = Table("fault", "times", "result", box=None, header_style="bold")
    for kind, its in sorted(result.faults.items()):
        how = ", ".join(f"{what} ({often})" for what, often in its.most_common())
        table.add_row(kind, str(its.total()), how)
    for what, often in sorted(result.client.items()):
        table.add_row(f"client: {what}", str(often), "")
    for what, often in sorted(result.records.items()):
        table.add_row(f"records {what}", str(often), "")
    out.print(table)
    alone = [each for each in result.exits if not each.asked]
    out.print(f"{len(result.exits)} workers ended, {len(alone)} of them by themselves")
    for each in alone:
        out.print(
            f"  {each.at_s:6.1f} s  {each.worker}, code {each.code}: {each.said}", markup=False
        )
    for kind, often in Counter(one.kind for one in result.differences).items():
        out.print(f"[red]{kind}[/]: {often}")
    for one in result.differences[:SHOWN]:
        out.print(f"  {one.kind}: {one.where}: {one.how}", markup=False)
    for problem in result.problems:
        out.print(f"[red]problem[/]: {problem}", markup=True)
    out.print("everything is as produced" if result.good else "[red]it differs[/]")


def save(result: Result) -> None:
    """Append to ``var/chaos/results.json``, a list of runs."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    runs: list[Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    runs.append(
        {
            "at": time.strftime("%FT%TZ", time.gmtime()),
            "good": result.good,
            "plan": asdict(result.plan),
            "faults": result.faults,
            "client": result.client,
            "records": result.records,
            "drained_s": result.drained_s,
            "exits": [asdict(each) for each in result.exits],
            "problems": result.problems,
            "differences": [asdict(each) for each in result.differences],
        }
    )
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n")

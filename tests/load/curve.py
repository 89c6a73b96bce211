"""What workers say of themselves, twice a second, and the curve of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import altair as alt
import polars as pl

from streams.cli.arrival import READS, Page, parse
from streams.topics import PLAYS

INPUTS = {"gate": PLAYS.name, **READS}
EVERY_S = 0.5
_ANSWER_S = 2.0
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at a moment: seconds since the beginning, MB, records."""

    at_s: float
    role: str
    rss_mb: float
    held_mb: float
    ahead_mb: float
    paused: bool
    lag: int
    done: int
    ready: bool


@dataclass(slots=True)
class Watch:
    """Samples of the workers whose health pages listen on ``ports``."""

    ports: Mapping[str, int]
    samples: list[Sample] = field(default_factory=list)
    """Of all workers, in order of time."""
    silent: int = 0
    """How often a page did not answer in time."""
    _began: float = field(default_factory=time.monotonic)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    async def run(self) -> None:
        """Sample until cancelled."""
        limit = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=limit) as session:
            while True:
                due = time.monotonic() + EVERY_S
                taken = (self._sample(session, role) for role in self.ports)
                for each in await asyncio.gather(*taken):
                    if each is None:
                        self.silent += 1
                    else:
                        self.samples.append(each)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _sample(self, session: aiohttp.ClientSession, role: str) -> Sample | None:
        url = f"http://127.0.0.1:{self.ports[role]}"
        try:
            async with session.get(f"{url}/metrics") as response:
                page = parse(await response.text())
            async with session.get(f"{url}/readyz") as response:
                ready = response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return sampled(self.now_s, role, page, ready)

    def all_ready(self) -> bool:
        """Whether every worker said last that it is ready."""
        last = {each.role: each.ready for each in self.samples}
        return last.keys() == self.ports.keys() and all(last.values())

    async def until_paused(self, role: str, limit_s: float) -> None:
        """Until a worker says that it fetches no more, or the time is over."""
        end = self.now_s + limit_s
        while self.now_s < end and not [*self.of(role)][-1].paused:
            await asyncio.sleep(EVERY_S)

    def of(self, role: str) -> Iterator[Sample]:
        """Samples of one worker, in order."""
        return (each for each in self.samples if each.role == role)


def sampled(at_s: float, role: str, page: Page, ready: bool) -> Sample:
    """What a worker's pages say."""
    ends = page.offsets("sottovoce_end_offset", INPUTS[role])
    done = page.offsets("sottovoce_committed_offset", INPUTS[role])
    return Sample(
        round(at_s, 2),
        role,
        round(page.value("process_resident_memory_bytes") / _MB, 1),
        round(page.value("sottovoce_held_bytes") / _MB, 2),
        round(page.value("sottovoce_prefetched_bytes") / _MB, 2),
        page.value("sottovoce_fetching_paused") > 0,
        sum(max(0, end - done.get(number, 0)) for number, end in ends.items()),
        sum(done.values()),
        ready,
    )


def draw(
    samples: list[Sample],
    phases: list[tuple[str, float, float]],
    bounds: Mapping[str, float],
    held_mb: int,
    out: Path,
) -> None:
    """Memory, what is held, and lag over time as SVG; ``phases`` are name, begin, end.

    ``bounds`` are MB of memory a worker must not pass, by role; drawn as lines, as is ``held_mb``.
    """
    rows = pl.DataFrame([_row(each) for each in samples])
    spans = pl.DataFrame(phases, schema=["phase", "begin", "end"], orient="row")
    panels = [
        _panel(rows, spans, "rss_mb", "memory, MB", bounds),
        _panel(rows, spans, "held_mb", "held, MB", {"bound": held_mb}),
        _panel(rows, spans, "lag", "lag, records", {}),
    ]
    chart = alt.vconcat(*panels).resolve_scale(color="shared", x="shared")
    chart.configure_view(stroke=None).save(out)


def _row(sample: Sample) -> dict[str, float | str]:
    return {
        "at_s": sample.at_s,
        "role": sample.role,
        "rss_mb": sample.rss_mb,
        "held_mb": sample.held_mb,
        "lag": float(sample.lag),
    }


def _panel(
    rows: pl.DataFrame, spans: pl.DataFrame, field: str, title: str, bounds: Mapping[str, float]
) -> alt.LayerChart | alt.FacetChart:
    shade = alt.Chart(spans).mark_rect(opacity=0.12)
    name = alt.Chart(spans).mark_text(align="left", baseline="top", dx=3, dy=3, y=0, fontSize=9)
    line = alt.Chart(rows).mark_line(strokeWidth=1.5)
    x = alt.X("at_s:Q", title="seconds")
    layers = [
        shade.encode(x="begin:Q", x2="end:Q", color=alt.value("#888")),
        name.encode(x="begin:Q", text="phase:N", color=alt.value("#444")),
        line.encode(x=x, y=alt.Y(f"{field}:Q", title=title), color="role:N"),
    ]
    if bounds:
        limits = pl.DataFrame({"role": list(bounds), "limit": list(bounds.values())})
        rule = alt.Chart(limits).mark_rule(strokeDash=[6, 3])
        colour = "role:N" if set(bounds) <= set(INPUTS) else alt.value("#c00")
        layers.append(rule.encode(y="limit:Q", color=colour))
    return alt.layer(*layers).properties(width=820, height=180)

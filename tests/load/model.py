"""``python -m tests.load.model``: what so many listeners and plays need, which limit comes first.

A plain calculation from figures that the programs beside it measured, all of them in `MEASURED`:
nothing is run. What a figure leaves out is said with it. The busiest second decides about cores and
network, an average day about disks. Prints two tables.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from rich.console import Console
from rich.table import Table

from streams.topics import ANALYTICS_LISTENS, DAY_MS, LISTENS, PLAYS

DAY_S = 86_400
MONTH_H = 730
RARELY_S = 300.0
"""Time between checkpoints that is shown beside the one that is asked for."""
GB, TB = 1e9, 1e12
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on two cores, with one worker of a role and one Kafka without replicas."""

    gate_cpu_s: float = 26.2
    """CPU seconds of gates per million plays, two audiences (`tests.load.scale`)."""
    taste_cpu_s: float = 11.7
    """Of tastes per million listens, with next to nothing emitted (`tests.load.scale`)."""
    emission_cpu_s: float = 103.0
    """Of tastes per million profiles with their states (a checkpoint, `tests.load.listeners`)."""
    report_cpu_s: float = 8.4
    """Of the report per million listens (`tests.load.scale`)."""
    report_listens_s: float = 89_782.0
    """Listens a second that one report takes in, which writes alone (`tests.bench.run`)."""
    kafka_cpu_s_gb: float = 10.8
    """CPU seconds of Kafka per gigabyte that goes in or out (`tests.load.scale`)."""
    play_bytes: float = 372.7
    """Of a record of `plays` on Kafka's disk, uncompressed (`tests.load.scale`)."""
    listen_bytes: float = 180.6
    """Of `listens`."""
    analytics_bytes: float = 199.7
    """Of `listens.analytics`."""
    state_bytes: float = 3_479.0
    """Of `taste-state`, with all that the default bounds allow (`tests.load.recovery`)."""
    profile_bytes: float = 4_421.6
    """Of `taste-profiles`, of listeners with 400 plays (`tests.load.scale`)."""
    consent_bytes: float = 81.4
    """Of `consent`."""
    listens_per_play: float = 0.977
    """In each audience, where everybody consents; private sessions and repeats go nowhere."""
    fact_bytes: float = 44.4
    """Of the warehouse per play, at 6.5 plays of a listener and day (`tests.load.audience`)."""
    listener_bytes: float = 3_767.0
    """Memory of a taste worker per listener at rest with such a state (`tests.load.recovery`)."""
    gate_listener_bytes: float = 185.0
    """Memory of every gate per listener who decided on two purposes."""
    gate_decision_us: float = 10.7
    """CPU microseconds of every gate's start per record of `consent`."""
    takeover_s: float = 27.6
    """Until a worker has a million listeners with full states (`tests.load.recovery`)."""
    release_s: float = 15.7
    """A release of 90 days of a million listeners, when little has changed since the last one
    (`tests.load.release`)."""
    worker_mb: float = 250.0
    """Memory of a worker beside its listeners: Python, the libraries, batches under way."""


MEASURED = Measured()


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for, and what is decided."""

    listeners: float = 100e6
    peak_plays_s: float = 1e6
    """Plays in the busiest second."""
    plays_a_day: float = 35.0
    """Of a listener, on average: what is stored."""
    busy: float = 0.6
    """Share of a core's time that may be used at the peak."""
    replication: int = 3
    checkpoint_s: float = 2.0
    worker_memory_gb: float = 16.0
    """The most that a worker may take."""
    takeover_s: float = 30.0
    """How long a partition may stand still when its worker dies, beside the session."""
    gate_start_s: float = 60.0
    """How long a gate may take to know who consents."""
    release_s: float = 60.0
    """A release at least every so often."""
    core_hour: float = 0.04
    """Price of a core for an hour, with the memory that comes with it."""
    decisions: int = 2
    """Records of `consent` per listener."""

    @property
    def average_plays_s(self) -> float:
        """Plays a second over a day."""
        return self.listeners * self.plays_a_day / DAY_S

    @property
    def emissions_s(self) -> float:
        """Profiles a second at the peak: listeners who changed between two checkpoints."""
        listens = self.peak_plays_s * MEASURED.listens_per_play * self.checkpoint_s
        return self.listeners * -math.expm1(-listens / self.listeners) / self.checkpoint_s


@dataclass(frozen=True, slots=True)
class Need:
    """What a target needs; cores and workers at the peak."""

    partitions: int
    gates: int
    tastes: int
    gate_cores: float
    taste_cores: float
    report_cores: float
    kafka_cores: float
    gate_memory_gb: float
    taste_memory_gb: float
    network_in_gb_s: float
    """Into Kafka, replicas included."""
    network_out_gb_s: float
    kafka_disk_tb: float
    warehouse_gb_day: float
    cores: float
    """All of them."""
    monthly_cost: float


def need(target: Target, measured: Measured = MEASURED) -> Need:
    """What ``target`` needs."""
    listens = target.peak_plays_s * measured.listens_per_play
    spare = MILLION * target.busy
    gate_cores = target.peak_plays_s * measured.gate_cpu_s / spare
    taste_cpu_s = listens * measured.taste_cpu_s + target.emissions_s * measured.emission_cpu_s
    taste_cores = taste_cpu_s / spare
    report_cores = listens * measured.report_cpu_s / spare
    in_gb_s, out_gb_s = traffic_gb_s(target, measured)
    kafka_cores = (in_gb_s + out_gb_s) * measured.kafka_cpu_s_gb / target.busy
    cores = gate_cores + taste_cores + report_cores + kafka_cores

    worker_gb = measured.worker_mb * MILLION / GB
    state_gb = target.listeners * measured.listener_bytes / GB
    known_gb = target.listeners * measured.gate_listener_bytes / GB
    gates = math.ceil(gate_cores)
    tastes = math.ceil(max(taste_cores, state_gb / (target.worker_memory_gb - worker_gb)))
    parts = target.listeners / MILLION * measured.takeover_s / target.takeover_s
    return Need(
        2 ** math.ceil(math.log2(max(gates, tastes, parts))),
        gates,
        tastes,
        gate_cores,
        taste_cores,
        report_cores,
        kafka_cores,
        gates * (known_gb + worker_gb),
        tastes * worker_gb + state_gb,
        in_gb_s,
        out_gb_s,
        disk_bytes(target, measured) * target.replication / TB,
        target.average_plays_s * DAY_S * measured.fact_bytes / GB,
        cores,
        cores * target.core_hour * MONTH_H,
    )


def traffic_gb_s(target: Target, measured: Measured = MEASURED) -> tuple[float, float]:
    """Gigabytes a second into and out of all of Kafka's nodes at the peak.

    What clients and workers write comes in once and, from the node that leads, again at each
    replica; what workers read goes out once. Readers of profiles are not counted.
    """
    listens = target.peak_plays_s * measured.listens_per_play
    read = target.peak_plays_s * measured.play_bytes + listens * (
        measured.listen_bytes + measured.analytics_bytes
    )
    written = read + target.emissions_s * (measured.state_bytes + measured.profile_bytes)
    copied = written * (target.replication - 1)
    return (written + copied) / GB, (read + copied) / GB


def disk_bytes(target: Target, measured: Measured = MEASURED) -> float:
    """Bytes on Kafka's disks after average days, of one replica.

    By retention; of what is compacted the newest record of each key, and as much again that the
    cleaner has not come to.
    """
    listens = target.average_plays_s * measured.listens_per_play
    rates = {
        PLAYS: target.average_plays_s * measured.play_bytes,
        LISTENS: listens * measured.listen_bytes,
        ANALYTICS_LISTENS: listens * measured.analytics_bytes,
    }
    kept = sum(rate * DAY_S * (topic.retention_ms or 0) / DAY_MS for topic, rate in rates.items())
    compacted = measured.state_bytes + measured.profile_bytes
    compacted += target.decisions * measured.consent_bytes
    return kept + 2 * target.listeners * compacted


@dataclass(frozen=True, slots=True)
class Limit:
    """What does not grow with more workers, or only so far."""

    name: str
    asked: float
    holds: float
    unit: str
    instead: str
    """What to do about it."""

    @property
    def times(self) -> float:
        """How many times the limit is asked for; it is met where this is over 1."""
        return self.asked / self.holds


def limits(target: Target, measured: Measured = MEASURED) -> list[Limit]:
    """All limits, the one that is met first at the top."""
    start_s = target.decisions * measured.gate_decision_us / MILLION
    per_million_s = measured.release_s / MILLION
    found = [
        Limit(
            "releases from one DuckDB",
            target.listeners,
            target.release_s / per_million_s,
            "listeners",
            "releases less often; DuckLake with PostgreSQL, marts built by several",
        ),
        Limit(
            "a gate's start reads all consents",
            target.listeners,
            target.gate_start_s / start_s,
            "listeners",
            "clients key plays by account, each gate knows its partitions' people",
        ),
        Limit(
            "a gate's memory holds all consents",
            target.listeners,
            (target.worker_memory_gb * GB - measured.worker_mb * MILLION)
            / measured.gate_listener_bytes,
            "listeners",
            "the same",
        ),
        Limit(
            "one report writes, average day",
            target.average_plays_s * measured.listens_per_play,
            measured.report_listens_s,
            "listens/s",
            "DuckLake with PostgreSQL, a report per share of the partitions",
        ),
        Limit(
            "one report writes, busiest second",
            target.peak_plays_s * measured.listens_per_play,
            measured.report_listens_s,
            "listens/s",
            "it lags and catches up, see the average day",
        ),
    ]
    return sorted(found, key=lambda each: -each.times)


def shown(target: Target) -> Iterator[Table]:
    """Both tables."""
    ways = [target, replace(target, checkpoint_s=RARELY_S)]
    columns = (f"profiles every {each.checkpoint_s:g} s" for each in ways)
    table = Table("needs", *columns, box=None)
    for row in zip(*map(_rows, ways), strict=True):
        table.add_row(row[0][0], *(value for _, value in row))
    yield table
    table = Table("limit", "asked for", "holds", "times", "instead", box=None)
    for limit in limits(target):
        numbers = f"{limit.asked:,.0f} {limit.unit}", f"{limit.holds:,.0f}", f"{limit.times:,.1f}"
        table.add_row(limit.name, *numbers, limit.instead)
    yield table


def _rows(target: Target) -> Iterator[tuple[str, str]]:
    found = need(target)
    yield "plays a second", f"{target.peak_plays_s:,.0f}; average {target.average_plays_s:,.0f}"
    yield "partitions", f"{found.partitions:,}"
    yield "gates", f"{found.gates:,}: {found.gate_cores:,.0f} cores, {found.gate_memory_gb:,.0f} GB"
    tastes = f"{found.tastes:,}: {found.taste_cores:,.0f} cores"
    yield "tastes", f"{tastes}, {found.taste_memory_gb:,.0f} GB"
    yield "report", f"{found.report_cores:,.0f} cores"
    yield "Kafka", f"{found.kafka_cores:,.0f} cores, {target.replication} replicas"
    yield "into, out of Kafka", f"{found.network_in_gb_s:,.1f}, {found.network_out_gb_s:,.1f} GB/s"
    yield "Kafka's disks", f"{found.kafka_disk_tb:,.0f} TB"
    yield "warehouse", f"{found.warehouse_gb_day:,.0f} GB a day"
    yield "cores together", f"{found.cores:,.0f}"
    yield f"a month at {target.core_hour:g} a core-hour", f"{found.monthly_cost:,.0f}"


def main() -> None:
    """Read the target, calculate, print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.model")
    for each in fields(Target):
        default = each.default
        assert isinstance(default, int | float)
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=type(default), default=default)
    target = Target(**vars(parser.parse_args()))
    for table in shown(target):
        Console().print(table)


if __name__ == "__main__":
    main()

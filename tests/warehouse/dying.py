"""What processes do until they are killed, and the killing.

Children come from a fork server that has the libraries loaded, so a kill costs no start-up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from streams.warehouse import facts, store
from streams.warehouse.release import publish
from streams.warehouse.store import Counter, Positions, Warehouse
from tests.warehouse.generate import World, frame
from tests.warehouse.released import SQL

WORLD = World(7, listeners=40, plays=3_000)
"""What is appended, over and over; its listens' numbers are the offsets of partition 0."""


def appending(folder: Path, at_work: Connection) -> None:
    """Append from where the warehouse stands, a few listens at a time, and compact often."""
    store.COMPACT_ROWS = 300
    listens = frame(WORLD.listens())
    with Warehouse(folder / "warehouse" / "warehouse.duckdb", SQL) as warehouse:
        while True:
            begin = warehouse.positions().next_offset.get(0, 0)
            chunk = listens.slice(begin % len(listens), random.randrange(1, 200))
            end = begin + len(chunk)
            warehouse.append(
                [facts.partials(chunk)],
                Positions({0: end}, {0: {3: 10 * end}}),
                {Counter.FOLDED: len(chunk)},
                datetime.now(UTC),
            )
            warehouse.compact()
            at_work.send(end)


def rewriting_on(folder: Path, at_work: Connection) -> None:
    """Append some listens and rewrite, over and over."""
    listens = frame(WORLD.listens())
    with Warehouse(folder / "warehouse" / "warehouse.duckdb", SQL) as warehouse:
        while True:
            begin = warehouse.positions().next_offset.get(0, 0)
            chunk = listens.slice(begin % len(listens), random.randrange(1, 200))
            warehouse.append(
                [facts.partials(chunk)], Positions({0: begin + len(chunk)}), {}, datetime.now(UTC)
            )
            at_work.send(None)
            warehouse.rewrite()


def publishing(folder: Path, at_work: Connection) -> None:
    """Publish release after release."""
    with Warehouse(folder / "warehouse" / "warehouse.duckdb", SQL) as warehouse:
        while True:
            at_work.send(None)
            publish(warehouse, SQL, folder / "reporting.duckdb", 1, datetime.now(UTC))


def kill_at_work(work: Callable[[Path, Connection], None], folder: Path, after_s: float) -> None:
    """Run ``work`` in a process of its own and SIGKILL it so long after it began."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(folder, sender), daemon=True)
    process.start()
    sender.close()
    receiver.recv()
    process.join(after_s)
    process.kill()
    process.join()
    receiver.close()
    assert process.exitcode == -9

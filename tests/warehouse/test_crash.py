"""A process that is killed while it appends and compacts leaves what its positions say, exactly."""

from __future__ import annotations

import random
from pathlib import Path

from streams.warehouse.store import Warehouse
from tests.warehouse import recount
from tests.warehouse.dying import WORLD, appending, kill_at_work
from tests.warehouse.released import SQL, added_up


def test_facts_are_what_the_positions_say_after_every_kill(tmp_path: Path) -> None:
    draw = random.Random(20)
    world = WORLD.listens()
    reached = 0
    for _ in range(6):
        kill_at_work(appending, tmp_path, draw.uniform(0.0, 0.4))
        with Warehouse(tmp_path / "warehouse" / "warehouse.duckdb", SQL) as warehouse:
            positions = warehouse.positions()
            end = positions.next_offset[0]
            assert end > reached
            reached = end
            listens = [world[number % len(world)] for number in range(end)]
            assert positions.highest == {0: {3: 10 * end}}
            assert added_up(warehouse) == recount.facts(listens)
            with warehouse.reading() as reader:
                folded = reader.execute("SELECT sum(records) FROM counters").fetchone()
            assert folded == (end,)

"""The peer in Faust, an agent per event with Tables, as its guide shows it.

State lies in memory and each change of it goes to a changelog; offsets are committed on a timer, so
that a play may count twice after a crash.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tests.bench.peers import job
from tests.bench.peers.faust_app import Output, build, finish

GUARANTEE = "at least once, tables in memory with a changelog"


async def main(task: job.Job) -> None:
    """Run until done."""
    app = build(task)
    output = Output(app, task)
    states = app.Table(f"{task.profiles}-state", default=job.empty, partitions=4)
    cells = app.Table(f"{task.cells}-state", default=int, partitions=4)
    meter, done = job.Meter(task), asyncio.Event()
    changed: set[str] = set()
    folded = 0

    @app.agent(app.topic(task.input, value_type=bytes, value_serializer="raw"))
    async def fold(stream: Any) -> None:
        nonlocal folded
        async for value in stream:
            meter.begin()
            play = job.decode(value)
            state = states[play.listener]
            job.fold(state, play)
            states[play.listener] = state
            changed.add(play.listener)
            for key in job.cells(play):
                cells[key] += 1
            folded += 1
            if folded == task.events:
                done.set()

    async def emit() -> None:
        listeners = list(changed)
        changed.clear()
        await output.profiles([(each, job.profile(states[each])) for each in listeners])

    app.timer(task.emit_every_s)(emit)
    await app.start()
    await done.wait()
    await emit()
    await output.cells(cells.items())
    await finish(app)
    meter.write(GUARANTEE)
    os._exit(0)  # stopping takes longer than the measurement and is no part of it


if __name__ == "__main__":
    asyncio.run(main(job.arguments()))

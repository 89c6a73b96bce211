"""The peer in Faust with batches: an agent that `take`s, and state in dicts of its own."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tests.bench.peers import job
from tests.bench.peers.faust_app import Output, build, finish

GUARANTEE = "at least once, state in memory only"
BATCH, WITHIN_S = 1_000, 0.2


async def main(task: job.Job) -> None:
    """Run until done."""
    app = build(task)
    output = Output(app, task)
    meter, memory, done = job.Meter(task), job.Memory(), asyncio.Event()

    @app.agent(app.topic(task.input, value_type=bytes, value_serializer="raw"))
    async def fold(stream: Any) -> None:
        async for values in stream.take(BATCH, within=WITHIN_S):
            meter.begin()
            for value in values:
                memory.add(value)
            if memory.folded == task.events:
                done.set()

    @app.timer(task.emit_every_s)  # type: ignore[untyped-decorator]
    async def emit() -> None:
        await output.profiles(memory.take_changed())

    await app.start()
    await done.wait()
    await output.profiles(memory.take_changed())
    await output.cells(memory.cells.items())
    await finish(app)
    meter.write(GUARANTEE)
    os._exit(0)  # stopping takes longer than the measurement and is no part of it


if __name__ == "__main__":
    asyncio.run(main(job.arguments()))

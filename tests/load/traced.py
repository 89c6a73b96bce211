"""A worker that notes when it gets where: ``python -m tests.load.traced worker <role>``.

Everything else is the worker itself, with the arguments that ``sottovoce`` takes. Each mark is a
line of JSON in the file that ``TRACED_MARKS`` names: the mark, seconds of the monotonic clock,
which all processes of a machine share, and CPU seconds of this process.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SPAWNED = "process"
FIRST_BATCH = "first batch"
COMMITTED = "first commit"

_seen: set[str] = set()


def mark(name: str | None) -> None:
    """Note the first time that the worker gets here. Nothing happens without a name."""
    if name is not None and name not in _seen:
        _seen.add(name)
        line = json.dumps([name, time.monotonic(), time.process_time()])
        with Path(os.environ["TRACED_MARKS"]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def watch(owner: Any, method: str, after: str | None, before: str | None = None) -> None:
    """Mark the first call of a function or method: when it begins, when it is over."""
    asked = getattr(owner, method)

    @functools.wraps(asked)
    def called(*args: Any, **kwargs: Any) -> Any:
        mark(before)
        result = asked(*args, **kwargs)
        mark(after)
        return result

    @functools.wraps(asked)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        mark(before)
        result = await asked(*args, **kwargs)
        mark(after)
        return result

    setattr(owner, method, awaited if inspect.iscoroutinefunction(asked) else called)


def trace(role: str) -> None:
    """Import what a worker of ``role`` imports, and have it mark its way from there."""
    import faust

    from streams.app import roles, worker
    from streams.transport.driver import BatchConsumer
    from streams.transport.ledger import OffsetLedger

    mark("imports: every worker's")
    kind = getattr(importlib.import_module(f"streams.agents.{role}"), role.capitalize())
    mark("imports: the role's")
    watch(roles, "build", "schemas, policy, plans")
    watch(worker, "require_topics", "topics looked up", "connected")
    watch(kind, "start", "what the role must know")
    watch(kind, "resume", "partitions restored", "group joined")
    watch(BatchConsumer, "_to_message", None, "first fetch")
    watch(kind, "take", FIRST_BATCH)
    watch(OffsetLedger, "finish", "written")
    watch(BatchConsumer, "_commit", COMMITTED)
    watch(faust.App, "stop", "consumer, producer stopped", "told to stop")
    watch(kind, "stop", "role stopped")
    watch(worker, "run", "run over")


if __name__ == "__main__":
    import gc

    mark(SPAWNED)
    from streams.cli.main import main

    mark("imports: the command's")
    gc.disable()  # as the command does before it imports a worker
    trace(sys.argv[2])
    main()

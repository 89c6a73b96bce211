"""A worker that fails in a chosen way once a file exists: ``python -m tests.whole.sabotage <way>
<file> ...``, with the arguments that ``sottovoce`` takes. Until then it is the worker itself.

Each way does to the libraries what is known to happen in them; see ``tests/whole/silent.py``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError, InvalidCommitOffsetSizeError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streams.agents.taste import Taste
from streams.cli.main import main

_LOOK_S = 0.02
Now = Callable[[], bool]


async def for_ever() -> None:
    """Never returns."""
    await asyncio.Event().wait()


def before(owner: Any, name: str, now: Now, act: Callable[[Any], Any]) -> None:
    """Have ``await act(self)`` happen before each call of a coroutine method, once it is time."""
    original = getattr(owner, name)

    async def changed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if now():
            await act(self)
        return await original(self, *args, **kwargs)

    setattr(owner, name, changed)


def fetch_hangs(now: Now) -> None:
    """Fetch requests are not sent any more (issues 166, 503, 629)."""
    before(Fetcher, "_proc_fetch_request", now, lambda self: _hang_in_group(self))


async def _hang_in_group(fetcher: Any) -> None:
    if fetcher._subscriptions._listener is not None:  # not those who only look
        await for_ever()


def fetch_ends(now: Now) -> None:
    """The task that sends fetch requests fails (issues 175, 523)."""
    original = Fetcher._get_actions_per_node

    def changed(self: Any, assignment: Any) -> Any:
        if now() and self._subscriptions._listener is not None:
            raise RuntimeError
        return original(self, assignment)

    Fetcher._get_actions_per_node = changed


def commit_hangs(now: Now) -> None:
    """What is finished is never committed (issues 175, 596)."""
    before(GroupCoordinator, "commit_offsets", now, lambda _: for_ever())


def commit_refused(now: Now) -> None:
    """Kafka refuses a commit for good (issue 611)."""

    async def refuse(_: Any) -> None:
        raise InvalidCommitOffsetSizeError

    before(GroupCoordinator, "commit_offsets", now, refuse)


def work_hangs(now: Now) -> None:
    """The agent waits for something that never comes (issues 175, 532)."""
    before(Taste, "take", now, lambda _: for_ever())


def loop_blocked(now: Now) -> None:
    """The event loop stands still."""

    async def block(_: Any) -> None:
        time.sleep(3_600)  # noqa: ASYNC251 - that is the fault

    before(Taste, "checkpoint", now, block)


def rebalance_hangs(now: Now) -> None:
    """State is restored for ever; the group thinks this member is well (issue 596)."""
    before(Taste, "resume", now, lambda _: for_ever())
    before(GroupCoordinator, "_do_heartbeat", now, _rejoin)


async def _rejoin(coordinator: Any) -> None:
    coordinator.request_rejoin()


def group_refused(now: Now) -> None:
    """Heartbeats are refused; aiokafka keeps that for who asks for records (issues 523, 532)."""

    async def refuse(self: Any) -> None:
        raise GroupAuthorizationFailedError(self.group_id)

    before(GroupCoordinator, "_do_heartbeat", now, refuse)


def group_fails(now: Now) -> None:
    """The task that keeps the membership fails (issues 175, 523)."""

    async def fail(coordinator: Any) -> None:
        coordinator.request_rejoin()

    async def raise_it(_: Any) -> None:
        raise RuntimeError

    before(GroupCoordinator, "_do_heartbeat", now, fail)
    before(GroupCoordinator, "ensure_active_group", now, raise_it)


def thread_ends(now: Now) -> None:
    """The thread that consumes ends (issue 175)."""

    async def end(thread: Any) -> None:
        thread.thread_loop.stop()

    before(AIOKafkaConsumerThread, "_commit", now, end)


WAYS: dict[str, Callable[[Now], None]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        fetch_hangs, fetch_ends, commit_hangs, commit_refused, work_hangs, loop_blocked,
        rebalance_hangs, group_refused, group_fails, thread_ends,
    )
}  # fmt: skip

if __name__ == "__main__":
    way, file = sys.argv.pop(1), Path(sys.argv.pop(1))
    WAYS[way](file.exists)
    main()

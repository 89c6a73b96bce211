"""Stops consumers for sure.

aiokafka's fetcher loses a cancellation that comes while it lets go of its partitions, and whoever
stops the consumer then waits for it without end. So the cancellation is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer

_AGAIN_S = 0.1


async def insist(stopping: Coroutine[Any, Any, None], consumer: AIOKafkaConsumer | None) -> None:
    """Wait for ``stopping``, which stops ``consumer`` somewhere within."""
    task = asyncio.ensure_future(stopping)
    while not (await asyncio.wait([task], timeout=_AGAIN_S))[0]:
        if consumer is not None and consumer._closed and consumer._fetcher is not None:
            consumer._fetcher._fetch_task.cancel()
    task.result()

"""What is done to a worker from within: Python imports this module by itself at the start.

``CHAOS_CLOCK`` names a file with seconds to add to the wall clock. Only what asks `time.time` and
`time.time_ns` sees the step, which is all that decides anything in this package; `time.monotonic`
stays, as it does when a real clock is set.

``CHAOS_FREEZE`` names a file that is not there. Once it is, the first worker about to write to the
changelog renames it to its process id and stops itself (SIGSTOP): profiles are written by then, and
state and positions go out when it is continued. From without nobody hits that moment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

_LOOK_EVERY_S = 0.05


def _step_clock(path: Path) -> None:
    real, real_ns, monotonic = time.time, time.time_ns, time.monotonic
    looked, shift = float("-inf"), 0.0

    def shifted() -> float:
        nonlocal looked, shift
        if monotonic() - looked >= _LOOK_EVERY_S:
            with contextlib.suppress(OSError, ValueError):
                shift = float(path.read_text())
            looked = monotonic()
        return shift

    time.time = lambda: real() + shifted()
    time.time_ns = lambda: real_ns() + int(shifted() * 1_000_000_000)


def _freeze_before_state(path: Path) -> None:
    from aiokafka import AIOKafkaProducer

    send = AIOKafkaProducer.send_batch

    async def send_batch(self: Any, batch: Any, topic: str, *, partition: int) -> Any:
        if topic == "taste-state":
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, path.with_name(str(os.getpid())))
                os.kill(os.getpid(), signal.SIGSTOP)
        return await send(self, batch, topic, partition=partition)

    AIOKafkaProducer.send_batch = send_batch


if "CHAOS_CLOCK" in os.environ:
    _step_clock(Path(os.environ["CHAOS_CLOCK"]))
if "CHAOS_FREEZE" in os.environ:
    _freeze_before_state(Path(os.environ["CHAOS_FREEZE"]))

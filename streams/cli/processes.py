"""Workers as child processes: started together, watched, stopped together, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streams.errors import SottoVoceError

STOP_S = 10.0
"""How long a worker may take to finish its batch, commit and exit."""


class WorkerDied(SottoVoceError):
    """A worker ended that should run on."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker. ``log`` is where its standard error goes, if not to ours."""

    role: str
    process: asyncio.subprocess.Process
    log: Path | None


class Workers:
    """Runs one worker process per role; as a context manager, stops them however it is left."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self.running: list[Worker] = []

    async def __aenter__(self) -> Workers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(
        self,
        role: str,
        port: int = 0,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("streams",),
    ) -> Worker:
        """Start the worker of ``role``; it also ends by itself when this process is gone.

        ``program`` is a module that does as ``streams`` does, and arguments that come first.
        """
        own = {**({"SOTTOVOCE_WEB_PORT": str(port)} if port else {}), **(environment or {})}
        stream = log.open("ab") if log else None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *program,
                "worker",
                role,
                "--until-eof",
                stdin=asyncio.subprocess.PIPE,
                stderr=stream,
                env=self._environment | own,
                start_new_session=True,  # Ctrl-C comes to us, and we stop them in order
            )
        finally:
            if stream:
                stream.close()
        worker = Worker(role, process, log)
        self.running.append(worker)
        return worker

    async def watch(self) -> None:
        """Wait until a worker ends.

        Raises:
            WorkerDied: always, naming it and its exit code.
        """
        ends = {asyncio.create_task(each.process.wait()): each for each in self.running}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
        dead = ends[done.pop()]
        raise WorkerDied(
            f"The {dead.role} worker ended with exit code {dead.process.returncode}.",
            f"Its log says why: {dead.log}." if dead.log else "Its last log line says why.",
        )

    async def stop(self) -> None:
        """SIGTERM to all, and SIGKILL to what is left after the time a worker may take."""
        for worker in self.running:
            _signal(worker, signal.SIGTERM)
        waits = [asyncio.create_task(each.process.wait()) for each in self.running]
        if waits:
            _, late = await asyncio.wait(waits, timeout=STOP_S)
            if late:
                for worker in self.running:
                    _signal(worker, signal.SIGKILL)
                await asyncio.wait(waits)
        self.running.clear()


def _signal(worker: Worker, number: signal.Signals) -> None:
    if worker.process.returncode is None:
        with suppress(ProcessLookupError):
            worker.process.send_signal(number)

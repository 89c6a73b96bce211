"""Keeps workers running as systemd would: whoever ends is started again, and it is noted why."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from streams.brokers.process import free_port

BACKOFF_S = (0.5, 4.0)
"""Shortest and longest wait before a worker is started again; it doubles while they die young."""
YOUNG_S = 10.0
STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a worker. ``asked``: by a fault or by us; ``said`` is its last word."""

    worker: str
    at_s: float
    code: int
    asked: bool
    said: str


@dataclass(eq=False)
class Slot:
    """A place for a worker, and the process that has it at the moment."""

    role: str
    number: int
    log: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None
    wanted: bool = True
    asked: bool = False
    frozen: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return f"{self.role}-{self.number}"

    @property
    def running(self) -> bool:
        """Whether it runs and is not frozen."""
        return self.process is not None and self.process is not self.frozen


class Supervisor:
    """Workers by slot. As a context manager, ends them all however it is left."""

    def __init__(self, environment: Callable[[str], Mapping[str, str]], logs: Path) -> None:
        """``environment`` is what workers of a role get besides ours."""
        self.slots: list[Slot] = []
        self.exits: list[Exit] = []
        self.file_limits: dict[str, int] = {}
        """By role, how large a file its workers may write; others are not bounded."""
        self._environment = environment
        self._logs = logs
        self._began = time.monotonic()
        self._numbers = iter(range(10**9))

    def add(self, role: str) -> Slot:
        """A worker more."""
        number = next(self._numbers)
        slot = Slot(role, number, self._logs / f"{role}-{number}.log")
        slot.keeper = asyncio.create_task(self._keep(slot))
        self.slots.append(slot)
        return slot

    async def remove(self, slot: Slot) -> int | None:
        """SIGTERM, and the exit code; after a while SIGKILL."""
        slot.wanted, slot.asked = False, True
        if slot in self.slots:
            self.slots.remove(slot)
        self.resume(slot)
        _send(slot, signal.SIGTERM)
        assert slot.keeper is not None
        process = slot.process
        _, late = await asyncio.wait([slot.keeper], timeout=STOP_S)
        if late:
            _send(slot, signal.SIGKILL)
            slot.keeper.cancel()
            await asyncio.wait([slot.keeper])
        return None if process is None else process.returncode

    def kill(self, slot: Slot) -> None:
        """SIGKILL; another process follows it."""
        slot.asked = True
        _send(slot, signal.SIGKILL)

    def pause(self, slot: Slot) -> None:
        """SIGSTOP."""
        slot.frozen = slot.process
        _send(slot, signal.SIGSTOP)

    def resume(self, slot: Slot) -> None:
        """SIGCONT."""
        slot.frozen = None
        _send(slot, signal.SIGCONT)

    def limit_files(self, role: str, limit: int | None) -> None:
        """Have every write beyond ``limit`` bytes into a file fail; None ends that."""
        self.file_limits.pop(role, None)
        if limit is not None:
            self.file_limits[role] = limit
        for slot in self.slots:
            if slot.role == role:
                self._apply_limit(slot)

    def running(self, role: str) -> list[Slot]:
        """Workers of a role that run."""
        return [slot for slot in self.slots if slot.role == role and slot.running]

    async def stop(self) -> dict[str, int | None]:
        """End all in good order; exit codes by worker."""
        slots = list(self.slots)
        codes = await asyncio.gather(*map(self.remove, slots))
        return {slot.name: code for slot, code in zip(slots, codes, strict=True)}

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(self, *_: object) -> None:
        for slot in self.slots:
            self.kill(slot)
            slot.wanted = False
        keepers = [slot.keeper for slot in self.slots if slot.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, slot: Slot) -> None:
        backoff = BACKOFF_S[0]
        while slot.wanted:
            began = time.monotonic()
            process = await self._spawn(slot)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                raise
            slot.process = slot.frozen = None
            since = round(time.monotonic() - self._began, 1)
            self.exits.append(Exit(slot.name, since, code, slot.asked, _last_words(slot.log)))
            slot.asked = False
            young = time.monotonic() - began < YOUNG_S
            backoff = min(2 * backoff, BACKOFF_S[1]) if young else BACKOFF_S[0]
            if slot.wanted:
                await asyncio.sleep(backoff)

    async def _spawn(self, slot: Slot) -> asyncio.subprocess.Process:
        own = {"SOTTOVOCE_WEB_PORT": str(slot.port), **self._environment(slot.role)}
        with slot.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "streams", "worker", slot.role, "--until-eof",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **own},
                start_new_session=True,
            )  # fmt: skip
        slot.process = process
        self._apply_limit(slot)
        if not slot.wanted:  # it was removed meanwhile
            _send(slot, signal.SIGTERM)
        return process

    def _apply_limit(self, slot: Slot) -> None:
        if slot.process is not None:
            limit = self.file_limits.get(slot.role, resource.RLIM_INFINITY)
            with suppress(ProcessLookupError):
                hard = resource.RLIM_INFINITY
                resource.prlimit(slot.process.pid, resource.RLIMIT_FSIZE, (limit, hard))


def _send(slot: Slot, number: signal.Signals) -> None:
    if slot.process is not None and slot.process.returncode is None:
        with suppress(ProcessLookupError):
            slot.process.send_signal(number)


def _last_words(log: Path) -> str:
    """The last line, with the one before where an error and its remedy take two."""
    lines = log.read_text(errors="replace").splitlines()
    last = lines[-2:] if len(lines) > 1 and lines[-1].startswith(" ") else lines[-1:]
    return " ".join(line.strip() for line in last)[:400]

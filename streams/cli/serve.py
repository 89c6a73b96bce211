"""Commands that run until stopped: a broker, a worker, all workers."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
import signal
import sys
from contextlib import suppress

from streams.cli import console
from streams.settings import Settings

_PR_SET_DUMPABLE = 4


async def broker(*, apache: bool) -> None:
    """Run a broker until Ctrl-C or SIGTERM."""
    from streams.cli.choose import local_broker

    stop = _stop_signal()
    with console.err.status("starting the broker"):
        running = local_broker(apache=apache)
        await running.start()
    try:
        console.out.print(running.address)
        console.err.print(
            f"[dim]{running.name} broker on {running.address}; Ctrl-C stops it. "
            f"Elsewhere: export SOTTOVOCE_BROKERS={running.address}"
            + ("[/]" if apache else " SOTTOVOCE_IDEMPOTENCE=false[/]")
        )
        await stop.wait()
    finally:
        await running.stop()


async def worker(settings: Settings, name: str, *, until_eof: bool) -> None:
    """Run one worker in this process."""
    gc.disable()  # nothing that is imported is garbage
    from streams import logs
    from streams.app import roles
    from streams.app.worker import collecting_seldom, run

    logs.configure(settings, role=name)
    _no_core_dumps()
    if until_eof:
        _terminate_at_eof()
    with collecting_seldom():
        await run(settings, name, roles.build(settings, name), roles.port_of(settings, name))


async def all_workers(settings: Settings) -> None:
    """Run the three workers as processes; if one ends, stop the others and say so."""
    from streams.app.roles import PORTS
    from streams.cli.processes import Workers

    stop = asyncio.create_task(_stop_signal().wait())
    async with Workers() as workers:
        for name in PORTS:
            await workers.start(name)
        watch = asyncio.create_task(workers.watch())
        done, pending = await asyncio.wait({stop, watch}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if watch in done:
            watch.result()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _no_core_dumps() -> None:
    """A crash must not leave memory, and with it plays and keys, in a file or a collector."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # a collector named in core_pattern does not ask for the limit
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)


def _terminate_at_eof() -> None:
    # Our parent holds the other end; the kernel closes it however the parent ends.
    loop = asyncio.get_running_loop()

    def at_end() -> None:
        loop.remove_reader(sys.stdin.fileno())
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sys.stdin.fileno(), at_end)

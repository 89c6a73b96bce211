"""What every broker of our own has in common: a process on loopback that ends with this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.brokers import guard
from streams.errors import BrokerError
from streams.settings import Kafka

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
_POLL_S = 0.01
_LOG = "broker.log"
REMEDY = "Try again, or name a Kafka of yours with `--brokers`."


def free_port() -> int:
    """A TCP port of loopback that nobody listens on.

    It lies below the range from which systems give ports to outgoing connections, so that none of
    those takes it while the broker restarts.

    Raises:
        BrokerError: a hundred ports tried are all in use.
    """
    for _ in range(100):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise BrokerError("No free port on loopback.", REMEDY)


def someone_listens(port: int) -> bool:
    """Whether a connection to ``port`` of loopback is taken."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Broker(ABC):
    """A Kafka broker in a process of its own, reachable at ``address`` on loopback only.

    Use it as ``async with``, or as ``with`` where no event loop runs. Its files live in a new
    folder that only this user can read and that goes when the broker stops.
    """

    name: ClassVar[str]
    """What an operator calls it."""
    start_s: ClassVar[float]
    """Longest time a start may take, seconds."""
    environment: ClassVar[Mapping[str, str] | None] = None
    """Environment of the process; None: ours."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` for clients; the same for the life of this object."""
        return f"{HOST}:{self.port}"

    @property
    def kafka(self) -> Kafka:
        """The same with how to connect, as clients take it."""
        return Kafka(self.address)

    @abstractmethod
    def _command(self, folder: Path) -> list[str]:
        """Prepare ``folder`` and name the command that serves from it. May block.

        Raises:
            BrokerError: something the broker needs is missing.
        """

    async def start(self) -> None:
        """Start the broker and return once it answers a metadata request.

        Raises:
            BrokerError: its port is in use, what it needs is missing, it ended at once, or it does
                not answer in time.
        """
        if someone_listens(self.port):  # who would answer in our broker's place
            raise BrokerError(f"Port {self.port} is in use.", REMEDY)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sottovoce-broker-"))
        try:
            command = await asyncio.to_thread(self._command, self._folder)
            self._process = self._spawn(command, self._folder)
            await self._until_it_answers(self._process, self._folder)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the broker and remove its files; nothing happens when it does not run.

        Returns when the process is gone: it is killed when it does not go by itself.
        """
        await asyncio.to_thread(self._end)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def restart(self) -> None:
        """Stop and start again on the same port. What the broker wrote to disk is still there.

        Raises:
            BrokerError: as `start` does.
        """
        await asyncio.to_thread(self._end, guard.KEEP_FOLDER)
        await self.start()

    def _spawn(self, command: list[str], folder: Path) -> subprocess.Popen[bytes]:
        guarded = [sys.executable, "-I", "-S", guard.__file__, str(folder), *command]
        with (folder / _LOG).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a command of our own making
                guarded,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for us; we stop the broker after its clients
            )

    async def _until_it_answers(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        try:
            async with asyncio.timeout(self.start_s):
                while not await self._ready():
                    if process.poll() is not None:
                        raise self._failure(f"ended at once, code {process.returncode}", folder)
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise self._failure(f"does not answer after {self.start_s:g} s", folder) from None

    async def _ready(self) -> bool:
        """Whether it does what it is started for."""
        return await _answers(self.port)

    def _failure(self, what: str, folder: Path) -> BrokerError:
        """The error of a start that failed, with the end of the broker's own log.

        Before its first record nothing in that log can come from one.
        """
        lines = (folder / _LOG).read_text(errors="replace").splitlines()
        said = f" It said: {' / '.join(lines[-3:])}" if lines else ""
        return BrokerError(f"The {self.name} broker {what}.{said}", REMEDY)

    def _end(self, farewell: bytes = b"") -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            # Closes the pipe that the guard watches, too.
            process.communicate(farewell, guard.STOP_S + 5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        asyncio.run(self.start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run(self.stop())


async def _answers(port: int) -> bool:
    """Whether a broker on ``port`` answers a metadata request and names itself in it."""
    if not someone_listens(port):  # aiokafka would log an error
        return False
    client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{port}")
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()

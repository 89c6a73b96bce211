"""What all brokers of our own share: starts that fail, stops, and an end with their parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import pytest

from streams.brokers import process
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.process import HOST, Broker, free_port
from streams.errors import BrokerError

LIMIT_S = 20


class Scripted(Broker):
    """A Python program in place of a broker."""

    name: ClassVar[str] = "scripted"
    start_s: ClassVar[float] = LIMIT_S

    def __init__(self, program: str) -> None:
        super().__init__()
        self.program = program
        self.folder = Path()

    def _command(self, folder: Path) -> list[str]:
        self.folder = folder
        return [sys.executable, "-c", self.program]


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


async def test_a_broker_that_ends_at_once_is_reported_with_what_it_said() -> None:
    broker = Scripted("import sys; print('no such disk'); sys.exit(7)")
    with pytest.raises(
        BrokerError, match=r"ended at once, code 7\. It said: no such disk"
    ) as caught:
        await broker.start()
    assert "--brokers" in caught.value.remedy
    assert not broker.folder.exists()


async def test_a_broker_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "start_s", 0.3)
    broker = Scripted("import signal; signal.pause()")
    with pytest.raises(BrokerError, match=r"does not answer after 0\.3 s"):
        await broker.start()
    assert not broker.folder.exists()


async def test_a_port_that_is_taken_is_reported(fresh_broker: EmbeddedBroker) -> None:
    second = EmbeddedBroker()
    second.port = fresh_broker.port
    with pytest.raises(BrokerError, match=f"Port {fresh_broker.port} is in use"):
        await second.start()


async def test_stop_may_come_twice_and_before_any_start() -> None:
    broker = EmbeddedBroker()
    await broker.stop()
    async with broker:
        assert connects(broker.port)
    assert not connects(broker.port)
    await broker.stop()


async def test_a_stopped_broker_starts_again_at_the_same_address() -> None:
    broker = EmbeddedBroker()
    address = broker.address
    for _ in range(2):
        async with broker:
            assert connects(broker.port)
            assert broker.address == address


def test_the_folder_is_for_its_user_alone_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    make = tempfile.mkdtemp

    def recorded(prefix: str) -> str:
        made.append(Path(make(prefix=prefix)))
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", recorded)
    with EmbeddedBroker():
        (folder,) = made
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_no_broker_outlives_a_parent_that_is_killed(fresh_broker: EmbeddedBroker) -> None:
    # fresh_broker is there to skip where the embedded one cannot run, and must stay unharmed.
    program = (
        "import signal\n"
        "from streams.brokers.embedded import EmbeddedBroker\n"
        "with EmbeddedBroker() as broker:\n"
        "    print(broker.port, broker._folder, flush=True)\n"
        "    signal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port, _, folder = parent.stdout.readline().strip().partition(" ")
    assert connects(int(port))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    limit = time.monotonic() + LIMIT_S
    while Path(folder).exists():  # the guard removes it once the broker is gone
        assert time.monotonic() < limit
        os.sched_yield()
    assert not connects(int(port))
    assert connects(fresh_broker.port)


def test_free_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    with socket.socket() as listener:
        listener.bind((HOST, free_port()))
        listener.listen()
        taken = listener.getsockname()[1]
        assert taken < 32_768
        assert all(free_port() != taken for _ in range(200))


def test_ports_that_run_out_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        monkeypatch.setattr(process, "_PORTS", [listener.getsockname()[1]])
        with pytest.raises(BrokerError, match="No free port"):
            free_port()

"""What a running worker offers to the network: three pages, to be read, where it was told."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from streams import topics
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.process import free_port
from streams.cli.processes import Workers
from streams.transport.admin import create_topics

HOST = "127.0.0.3"
"""Of loopback too, and no other's."""
PAGES = ("/healthz", "/readyz", "/metrics")
NOT_PAGES = ("/", "/table", "/tables", "/table/x/y", "/stats", "/graph", "/router", "/send",
             "/healthz/", "/metrics/../etc/passwd", "/debug")  # fmt: skip
METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_LISTENS = "0A"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and all of 127.0.0.0/8"),
]


@pytest.fixture
async def worker(fresh_broker: EmbeddedBroker, tmp_path: Path) -> AsyncIterator[tuple[int, int]]:
    """Process id and port of a report worker that is ready."""
    await create_topics(fresh_broker.kafka, topics.ALL, 1, 1)
    port = free_port()
    environment = {
        "SOTTOVOCE_BROKERS": fresh_broker.address,
        "SOTTOVOCE_IDEMPOTENCE": "false",
        "SOTTOVOCE_SESSION_TIMEOUT_S": "2",
        "SOTTOVOCE_DATA": str(tmp_path / "data"),
        "SOTTOVOCE_WEB_HOST": HOST,
    }
    async with Workers(environment) as workers, aiohttp.ClientSession() as session:
        notes = str(tmp_path / "notes.json")
        log = tmp_path / "log"
        running = await workers.start("report", port, log, program=("tests.access.watched", notes))
        async with asyncio.timeout(60):
            while (await status(session, "GET", port, "/readyz")) != 200:
                assert running.process.returncode is None, log.read_text()
                await asyncio.sleep(0.1)
        yield running.process.pid, port


async def status(session: aiohttp.ClientSession, method: str, port: int, path: str) -> int:
    """The answer's status; 0 if nobody answers."""
    try:
        async with session.request(method, f"http://{HOST}:{port}{path}") as response:
            return response.status
    except aiohttp.ClientConnectionError:
        return 0


def listening(process: int) -> set[tuple[str, int]]:
    """Addresses and ports that the process listens on, IPv4 and IPv6."""
    links = []
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            links.append(file.readlink())
    sockets = {found[1] for link in links if (found := re.match(r"socket:\[(\d+)\]", str(link)))}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        (address, int(port, 16))
        for _, local, _, state, *_, in_use in ((*row[:4], row[9]) for row in rows)
        for address, port in (local.split(":"),)
        if state == _LISTENS and in_use in sockets
    }


async def test_a_worker_serves_three_pages_to_readers_on_one_port(
    worker: tuple[int, int],
) -> None:
    process, port = worker
    async with aiohttp.ClientSession() as session:
        for path in PAGES:
            for method in ("GET", "HEAD"):
                assert await status(session, method, port, path) == 200, (method, path)
            for method in METHODS:
                assert await status(session, method, port, path) == 405, (method, path)
        for path in NOT_PAGES:
            assert await status(session, "GET", port, path) == 404, path
    address = bytes(reversed([int(part) for part in HOST.split(".")])).hex().upper()
    assert listening(process) == {(address, port)}

"""The health page over HTTP."""

from __future__ import annotations

import socket
import time

import aiohttp
import pytest

from streams.app.health import HealthPage
from streams.app.progress import Progress
from streams.errors import SettingsError


async def answer(page: HealthPage, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{page.port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_health_readiness_and_metrics() -> None:
    progress = Progress(60.0, 300.0, time.monotonic)
    page = HealthPage("127.0.0.1", 0, progress)
    await page.start()
    try:
        assert await answer(page, "/healthz") == (200, "ok\n")
        status, text = await answer(page, "/readyz")
        assert status == 503
        assert "No partitions" in text
        progress.assign({("plays", 0)})
        assert await answer(page, "/readyz") == (200, "ready\n")
        status, text = await answer(page, "/metrics")
        assert status == 200
        assert "# TYPE sottovoce_plays_read_total counter" in text
        for path in ("/", "/table", "/stats"):
            assert (await answer(page, path))[0] == 404
    finally:
        await page.stop()


async def test_a_fault_makes_it_unhealthy() -> None:
    now = [0.0]
    progress = Progress(5.0, 10.0, lambda: now[0])
    progress.assign({("plays", 0)})
    page = HealthPage("127.0.0.1", 0, progress)
    await page.start()
    try:
        for _ in range(4):
            assert await answer(page, "/healthz") == (200, "ok\n")
            progress.look({("plays", 0): 7}, {})
            now[0] += 4.0
        progress.look({("plays", 0): 7}, {})
        status, text = await answer(page, "/healthz")
        assert status == 503
        assert "plays/0: 7 records of lag" in text
    finally:
        await page.stop()


async def test_a_taken_port_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        page = HealthPage("127.0.0.1", taken.getsockname()[1], Progress(1.0, 5.0, time.monotonic))
        with pytest.raises(SettingsError, match="SOTTOVOCE_WEB_PORT"):
            await page.on_start()
        await page.on_stop()

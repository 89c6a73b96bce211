"""The workers' page: ``/healthz``, ``/readyz``, ``/metrics``. Positions and counts only."""

from __future__ import annotations

from aiohttp import web
from mode import Service

from streams import metrics
from streams.app.progress import Progress
from streams.errors import SettingsError


class HealthPage(Service):
    """Serves the page while the app runs; ``port`` 0 takes a free one."""

    def __init__(self, host: str, port: int, progress: Progress) -> None:
        super().__init__()
        self._host, self._wanted, self._progress = host, port, progress
        self._runner: web.AppRunner | None = None

    async def on_start(self) -> None:
        """Bind.

        Raises:
            SettingsError: the port is taken.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._wanted).start()
        except OSError as error:
            raise SettingsError(
                f"The health page cannot bind to {self._host}:{self._wanted}: {error.strerror}.",
                "Set SOTTOVOCE_WEB_PORT to a free port.",
            ) from None

    @property
    def port(self) -> int:
        """The port that was bound."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def on_stop(self) -> None:
        """Unbind."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        fault = self._progress.fault()
        if fault is not None:
            return web.Response(text=f"{fault}\n", status=503)
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        troubles = self._progress.troubles()
        if troubles:
            return web.Response(text="\n".join(troubles) + "\n", status=503)
        return web.Response(text="ready\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.MEDIA_TYPE})

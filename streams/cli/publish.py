"""Commands about what is published: a release, the HTML report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from streams.cli import console
from streams.errors import WarehouseError
from streams.settings import Settings
from streams.warehouse import release as releases
from streams.warehouse.release import Manifest
from streams.warehouse.store import Warehouse


def release(settings: Settings, timeout: float) -> None:
    """Publish the marts: directly when no worker holds the warehouse, else through the worker.

    Raises:
        WarehouseError: there is no warehouse, or the worker does not answer in time.
    """
    if not settings.warehouse.exists():
        raise WarehouseError(
            f"There is no warehouse at {settings.warehouse}.",
            "The report worker makes it; or set SOTTOVOCE_DATA to where it is.",
        )
    with console.err.status("publishing"):
        manifest = _at_rest(settings) or releases.request_and_wait(settings.data, timeout)
    for mart, rows in manifest.rows.items():
        console.out.print(f"{rows:>9,}  {mart}")
    console.err.print(f"[dim]{settings.released}, {manifest.seconds:.1f} s[/]")


def _at_rest(settings: Settings) -> Manifest | None:
    try:
        warehouse = Warehouse(settings.warehouse, settings.sql)
    except WarehouseError:
        return None  # a worker holds it
    with warehouse:
        return releases.publish(
            warehouse, settings.sql, settings.released, settings.min_listeners, datetime.now(UTC)
        )


def report(settings: Settings, out: Path | None) -> None:
    """Write the HTML report of the last release."""
    from streams.warehouse.report import render  # loads the chart library: seconds

    target = out or settings.data / "report.html"
    render(settings.released, target)
    console.out.print(str(target))

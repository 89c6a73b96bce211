"""Commands for what listeners ask for. They read the raw zone, so they run where the gate may."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import console, options

if TYPE_CHECKING:
    from streams.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="What listeners ask for: erasure, export, exclusion, restriction; and its receipts.",
)

User = Annotated[str, typer.Argument(help="Account, as plays have it.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every store has done it.")]
Timeout = Annotated[float, typer.Option(min=0, help="Longest wait for the receipt, seconds.")]
AsJson = Annotated[bool, typer.Option("--json", help="The signed receipt as JSON.")]
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
_TIMEOUT_S = 300.0


@app.command("erase", epilog="Example: sottovoce privacy erase alice --timeout 600")
def erase(
    user: User,
    wait: Wait = True,
    timeout: Timeout = _TIMEOUT_S,
    json: AsJson = False,
    brokers: options.Brokers = None,
) -> None:
    """Erase a person everywhere: what they played until now goes and does not come back."""
    _ask(options.settings(brokers), "erase", user, wait=wait, timeout=timeout, as_json=json)


@app.command("export", epilog="Example: sottovoce privacy export alice --out alice")
def export(
    user: User,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for export.json and export.html; left out: export-<request>."),
    ] = None,
    timeout: Timeout = _TIMEOUT_S,
    json: AsJson = False,
    brokers: options.Brokers = None,
) -> None:
    """Write down all that is held about a person, for machines and as a page to read."""
    from streams.cli import asking, exporting

    settings = options.settings(brokers)
    request = asking.prepared("export", user)
    folder = out or Path(f"export-{request.request_id}")
    exporting.prepare(folder)
    if not options.run(asking.ask(settings, request, timeout, as_json=json)):
        raise typer.Exit(console.FAILED)
    held = options.run(exporting.gathered(settings, request))
    for file in exporting.write(held, folder):
        console.err.print(console.plain(str(file)))


@app.command("exclude", epilog="Example: sottovoce privacy exclude alice --artist 'The Band'")
def exclude(
    user: User,
    artist: Annotated[
        str | None, typer.Option(help="Artist, named as plays do; left out: every artist.")
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from", formats=_FORMATS, help="UTC, to the minute; left out: from the beginning."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=_FORMATS, help="UTC, to the minute, not included; left out: for ever."
        ),
    ] = None,
    wait: Wait = True,
    timeout: Timeout = _TIMEOUT_S,
    json: AsJson = False,
    brokers: options.Brokers = None,
) -> None:
    """Leave an artist, a session or a span of time out of a person's profile, past and future."""
    if artist is None and start is None and until is None:
        raise typer.BadParameter("Name an artist, a start or an end.")
    fields = {
        "exclude_artist": artist,
        "exclude_from": _milliseconds(start),
        "exclude_until": _milliseconds(until),
    }
    settings = options.settings(brokers)
    _ask(settings, "exclude", user, fields, wait=wait, timeout=timeout, as_json=json)


@app.command("restrict", epilog="Example: sottovoce privacy restrict alice")
def restrict(
    user: User,
    wait: Wait = True,
    timeout: Timeout = _TIMEOUT_S,
    json: AsJson = False,
    brokers: options.Brokers = None,
) -> None:
    """Keep what is held about a person, but use it no more, until `lift`."""
    _ask(options.settings(brokers), "restrict", user, wait=wait, timeout=timeout, as_json=json)


@app.command("lift", epilog="Example: sottovoce privacy lift alice")
def lift(
    user: User,
    wait: Wait = True,
    timeout: Timeout = _TIMEOUT_S,
    json: AsJson = False,
    brokers: options.Brokers = None,
) -> None:
    """End a restriction."""
    _ask(options.settings(brokers), "lift", user, wait=wait, timeout=timeout, as_json=json)


@app.command("status", epilog="Example: sottovoce privacy status 6f9619ff-8b86-4d01")
def status(
    request_id: Annotated[str, typer.Argument(help="Identifier, as the request was given.")],
    json: AsJson = False,
    brokers: options.Brokers = None,
) -> None:
    """Show what became of a request: its receipt, or that it is under way."""
    from streams.cli import asking

    options.run(asking.status(options.settings(brokers), request_id, as_json=json))


@app.command("verify", epilog="Example: sottovoce privacy verify receipt.json")
def verify(
    file: Annotated[Path, typer.Argument(help="A receipt, as --json gives it.")],
    public_key: Annotated[
        str | None,
        typer.Option(
            help="Key of the installation, 64 hexadecimal digits; left out: that of the key ring "
            "if the settings give one, else the one in the receipt, which proves no origin."
        ),
    ] = None,
) -> None:
    """Check a receipt's signature."""
    from streams.cli import receipt

    raise typer.Exit(receipt.verify(options.settings(None), file, public_key))


def _ask(
    settings: Settings,
    action: str,
    user: str,
    fields: dict[str, str | int | None] | None = None,
    *,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    from streams.cli import asking

    request = asking.prepared(action, user, **(fields or {}))
    limit = timeout if wait else None
    done = options.run(asking.ask(settings, request, limit, as_json=as_json))
    raise typer.Exit(console.OK if done else console.FAILED)


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1_000)

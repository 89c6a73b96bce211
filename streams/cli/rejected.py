"""Commands for rejected records. They read the raw zone, so they run where the gate may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import options
from streams.errors import Reason

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True, help="Records the gate could not process: list, show, send again."
)

ReasonOption = Annotated[Reason | None, typer.Option(help="Only those rejected for this reason.")]


@app.command("list", epilog="Example: sottovoce rejected list --limit 100")
def list_(
    limit: Annotated[int, typer.Option(min=0, help="Newest records to name.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Count rejected records by topic, reason and schema, and name the newest. Shows no payload."""
    from streams.cli import rejections

    options.run(rejections.list_all(options.settings(brokers), limit, as_json=json))


@app.command("show", epilog="Example: sottovoce rejected show plays/3/1042")
def show(
    position: Annotated[str, typer.Argument(help="TOPIC/PARTITION/OFFSET, as `list` names it.")],
    payload: Annotated[
        bool,
        typer.Option("--payload", help="Also what it held: personal data. That is logged."),
    ] = False,
    brokers: options.Brokers = None,
) -> None:
    """Show why a record was rejected."""
    from streams.cli import rejections

    topic, partition, offset = _position(position)
    wanted = rejections.Position(topic, partition, offset)
    options.run(rejections.show(options.settings(brokers), wanted, payload=payload))


@app.command("replay", epilog="Example: sottovoce rejected replay --reason unknown-schema")
def replay(
    reason: ReasonOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Records to send at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Send rejected records again, as they were, to the topics they came from."""
    from streams.cli import rejections

    options.run(rejections.replay(options.settings(brokers), reason, limit, dry_run=dry_run))


def _position(text: str) -> tuple[str, int, int]:
    topic, *numbers = text.rsplit("/", 2)
    if not topic or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise typer.BadParameter("It is not TOPIC/PARTITION/OFFSET.", param_hint="POSITION")
    partition, offset = map(int, numbers)
    return topic, partition, offset

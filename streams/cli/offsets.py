"""Commands for where roles are in Kafka, and for having the gate go on elsewhere."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from streams.cli import options

app = typer.Typer(no_args_is_help=True, help="Where each role is in Kafka: show and reset.")


class Role(StrEnum):
    """Whose offsets."""

    GATE = "gate"
    TASTE = "taste"
    REPORT = "report"


@app.command("show", epilog="Example: sottovoce offsets show gate")
def show(
    role: Annotated[Role | None, typer.Argument(help="gate, taste, report; left out: all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Show per partition what is committed, where the role resumes, and what waits."""
    from streams.cli import resuming

    roles = list(Role) if role is None else [role]
    settings = options.settings(brokers)
    options.run(resuming.show(settings, [each.value for each in roles], as_json=json))


@app.command("reset", epilog="Example: sottovoce offsets reset gate --to 2026-06-01T12:00")
def reset(
    role: Annotated[Role, typer.Argument(help="gate; the stores of the others decide.")],
    to: Annotated[
        str,
        typer.Option(help="beginning, end, an offset, or a time (ISO 8601, UTC) plays came at."),
    ],
    partition: Annotated[
        int | None, typer.Option(min=0, help="Partition of plays; left out: all.")
    ] = None,
    skip: Annotated[
        bool, typer.Option("--skip", help="Allow that plays are never processed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Have the gate resume elsewhere in plays, while no gate runs. Going back doubles nothing."""
    from streams.cli import resuming

    settings = options.settings(brokers)
    options.run(resuming.reset(settings, role.value, to, partition, skip=skip, ask=not yes))

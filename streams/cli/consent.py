"""Commands for what people allow. They write and read the raw zone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import options

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True, help="What people allow: grant, revoke, show, import decisions."
)


User = Annotated[str, typer.Argument(help="Account, as plays have it.")]
Purposes = Annotated[
    list[options.Purpose], typer.Option("--purpose", help="What the decision is about; repeatable.")
]


@app.command("grant", epilog="Example: sottovoce consent grant alice --purpose analytics")
def grant(
    user: User,
    purpose: Purposes,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="UTC; plays from then on are covered, as when people bring their own history; "
            "left out: from now on.",
        ),
    ] = None,
    brokers: options.Brokers = None,
) -> None:
    """Send that a person allows a purpose."""
    from streams.cli import decisions

    start = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1_000)
    made = decisions.made(user, purpose, start, granted=True)
    options.run(decisions.send(options.settings(brokers), made))


@app.command("revoke", epilog="Example: sottovoce consent revoke alice --purpose sharing")
def revoke(user: User, purpose: Purposes, brokers: options.Brokers = None) -> None:
    """Send that a person allows a purpose no more: what was kept for it goes."""
    from streams.cli import decisions

    made = decisions.made(user, purpose, None, granted=False)
    options.run(decisions.send(options.settings(brokers), made))


@app.command("show", epilog="Example: sottovoce consent show alice")
def show(
    user: User,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Show the decisions of a person that stand."""
    from streams.cli import decisions

    options.run(decisions.show(options.settings(brokers), user, as_json=json))


@app.command("import", epilog="Example: sottovoce consent import decisions.csv")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: user,purpose,granted,decided_at.")],
    brokers: options.Brokers = None,
) -> None:
    """Send decisions kept elsewhere: of each person and purpose the newest."""
    from streams.cli import decisions

    options.run(decisions.send(options.settings(brokers), decisions.read(file)))

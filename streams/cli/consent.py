"""Commands for what people allow. They write and read the raw zone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="What people allow: grant, revoke, show, import decisions."
)


class Purpose(StrEnum):
    """What data may be used for."""

    PERSONALIZATION = "personalization"
    ANALYTICS = "analytics"
    SHARING = "sharing"


User = Annotated[str, typer.Argument(help="Account, as plays have it.")]
Purposes = Annotated[
    list[Purpose], typer.Option("--purpose", help="What the decision is about; repeatable.")
]
Brokers = Annotated[
    str | None, typer.Option(help="Kafka to use, host:port; left out: SOTTOVOCE_BROKERS.")
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
    brokers: Brokers = None,
) -> None:
    """Send that a person allows a purpose."""
    from streams.cli import decisions

    start = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1_000)
    made = decisions.made(user, purpose, start, granted=True)
    asyncio.run(decisions.send(_settings(brokers), made))


@app.command("revoke", epilog="Example: sottovoce consent revoke alice --purpose sharing")
def revoke(user: User, purpose: Purposes, brokers: Brokers = None) -> None:
    """Send that a person allows a purpose no more: what was kept for it goes."""
    from streams.cli import decisions

    made = decisions.made(user, purpose, None, granted=False)
    asyncio.run(decisions.send(_settings(brokers), made))


@app.command("show", epilog="Example: sottovoce consent show alice")
def show(
    user: User,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    brokers: Brokers = None,
) -> None:
    """Show the decisions of a person that stand."""
    from streams.cli import decisions

    asyncio.run(decisions.show(_settings(brokers), user, as_json=json))


@app.command("import", epilog="Example: sottovoce consent import decisions.csv")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: user,purpose,granted,decided_at.")],
    brokers: Brokers = None,
) -> None:
    """Send decisions kept elsewhere: of each person and purpose the newest."""
    from streams.cli import decisions

    asyncio.run(decisions.send(_settings(brokers), decisions.read(file)))


def _settings(brokers: str | None) -> Settings:
    from streams.settings import load

    return load(**({"brokers": brokers} if brokers else {}))

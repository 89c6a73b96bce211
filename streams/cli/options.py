"""What commands share: the broker option, the settings behind it, purposes, and how work is run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from streams.cli import console

if TYPE_CHECKING:
    from streams.settings import Settings

T = TypeVar("T")

Brokers = Annotated[
    str | None, typer.Option(help="Kafka to use, host:port; left out: SOTTOVOCE_BROKERS.")
]


class Purpose(StrEnum):
    """What data may be used for."""

    PERSONALIZATION = "personalization"
    ANALYTICS = "analytics"
    SHARING = "sharing"


def settings(brokers: str | None = None) -> Settings:
    """The settings in force, with the brokers that the command line names."""
    from streams.settings import load

    return load(**({"brokers": brokers} if brokers else {}))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Work to its end, or exit as interrupted on Ctrl-C."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        console.err.print("[dim]interrupted[/]")
        raise typer.Exit(console.INTERRUPTED) from None

"""Commands for what taste and report remember: back up, restore, rebuild."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streams.cli import options


class Role(StrEnum):
    """Whose store."""

    TASTE = "taste"
    REPORT = "report"


Folder = Annotated[Path, typer.Argument(help="Folder of the backup.")]
Only = Annotated[Role | None, typer.Option("--role", help="taste or report; left out: both.")]


def backup(
    folder: Folder,
    role: Only = None,
    timeout: Annotated[float, typer.Option(help="Longest wait for a running worker, s.")] = 600.0,
    brokers: options.Brokers = None,
) -> None:
    """Copy taste-state and the warehouse to a new folder, while the workers run.

    What is in it is pseudonymous data that no erasure reaches. It can be restored for 30 days.
    """
    from streams.cli import backups

    settings = options.settings(brokers)
    options.run(backups.make(settings, folder, _names(role), timeout))


def restore(folder: Folder, role: Only = None, brokers: options.Brokers = None) -> None:
    """Put back what was lost, while the workers of it are stopped; Kafka adds what came since."""
    from streams.cli import restoring

    options.run(restoring.restore(options.settings(brokers), folder, _names(role)))


def rebuild(
    role: Annotated[Role, typer.Argument(help="taste or report.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    brokers: options.Brokers = None,
) -> None:
    """Throw away what a stopped role remembers; its worker reads all that Kafka still holds."""
    from streams.cli import restoring

    options.run(restoring.rebuild(options.settings(brokers), role.value, ask=not yes))


def _names(role: Role | None) -> list[str]:
    return [each.value for each in Role if role in (None, each)]

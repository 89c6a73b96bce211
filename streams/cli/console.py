"""What the commands share: consoles, settings, progress and how an error is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

out = Console(highlight=False, soft_wrap=True)
"""Results: what a pipe should get."""
err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Everything else."""

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def fail(problem: str, remedy: str = "") -> None:
    """Say on standard error what went wrong and what to do."""
    err.print(f"[bold red]error:[/] {plain(problem)}")
    if remedy:
        err.print(f"[dim]   do:[/] {plain(remedy)}")


def plain(text: str) -> str:
    """``text`` with nothing in it taken for markup."""
    return text.replace("[", r"\[")


@contextmanager
def progress(description: str, total: float | None, unit: str = "") -> Iterator[Any]:
    """A progress bar on standard error, if that is a terminal; yields ``advance(amount)``."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if unit else TextColumn("{task.percentage:>3.0f}%"),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)

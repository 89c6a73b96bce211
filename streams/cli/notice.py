"""``sottovoce notice``: what is done with listeners' data, as it is enforced.

The files in ``deploy/notice`` are written by it, and a test holds them against the schemas and the
policy beside them: whoever changes what is enforced has to publish what it now is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import console
from streams.errors import PolicyError, SourceError

if TYPE_CHECKING:
    from streams.privacy.document import Document
    from streams.privacy.inventory import Inventory


class Reader(StrEnum):
    """Whom it is written for."""

    LISTENERS = "listeners"
    OFFICER = "officer"
    MACHINE = "machine"


class Form(StrEnum):
    """How it is written."""

    MD = "md"
    HTML = "html"
    JSON = "json"


def notice(
    reader: Annotated[
        Reader,
        typer.Option(
            "--for",
            help="listeners: the notice; officer: the record of processing (GDPR Art. 30); "
            "machine: the inventory, a Fides manifest.",
        ),
    ] = Reader.LISTENERS,
    form: Annotated[
        Form | None, typer.Option("--format", help="md, html or json; for machines always json.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all of them as files into this folder instead.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Fail if the files in this folder are not these.")
    ] = None,
    controller: Annotated[
        str | None, typer.Option(help="Who is responsible, and how to reach them.")
    ] = None,
) -> None:
    """Say what becomes of listeners' data, from the schemas and the policy in force."""
    from streams.privacy import inventory
    from streams.settings import load

    if reader is Reader.MACHINE and form not in (None, Form.JSON):
        raise typer.BadParameter("For machines there is json only.", param_hint="--format")
    taken = inventory.from_settings(load())
    if check is not None:
        compare(files(taken, controller), check)
        console.out.print(f"{check} says what is enforced", markup=False)
    elif out is not None:
        for file in write(files(taken, controller), out):
            console.out.print(str(file), markup=False)
    else:
        typer.echo(text(taken, reader, form, controller), nl=False)


def text(taken: Inventory, reader: Reader, form: Form | None, controller: str | None) -> str:
    """One of them in one form."""
    from streams.privacy import document, fides, processing
    from streams.privacy import notice as notices

    if reader is Reader.MACHINE:
        return fides.manifest(taken)
    writers = {Reader.LISTENERS: notices.document, Reader.OFFICER: processing.document}
    forms: Mapping[Form, Callable[[Document], str]] = {
        Form.MD: document.markdown,
        Form.HTML: document.html,
        Form.JSON: document.as_json,
    }
    return forms[form or Form.MD](writers[reader](taken, controller))


def files(taken: Inventory, controller: str | None = None) -> dict[str, str]:
    """Content of every file that is published, by name."""
    wanted = {
        "notice.md": (Reader.LISTENERS, Form.MD),
        "notice.html": (Reader.LISTENERS, Form.HTML),
        "record-of-processing.md": (Reader.OFFICER, Form.MD),
        "inventory.json": (Reader.MACHINE, Form.JSON),
    }
    return {name: text(taken, *form, controller) for name, form in wanted.items()}


def write(contents: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the files, making the folder if need be.

    Raises:
        SourceError: one cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_text(content, "utf-8")
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be written: {error.strerror}.", "Name another folder."
        ) from None
    return [folder / name for name in contents]


def compare(contents: Mapping[str, str], folder: Path) -> None:
    """Hold the files in ``folder`` against what is enforced.

    Raises:
        PolicyError: one is missing or differs; names the file and its first line that differs.
    """
    for name, content in contents.items():
        file = folder / name
        try:
            committed = file.read_text("utf-8")
        except (OSError, ValueError):
            raise PolicyError(f"{file} cannot be read.", _remedy(folder)) from None
        if committed != content:
            line, theirs, ours = _first_difference(committed, content)
            raise PolicyError(
                f"{file} does not say what is enforced. Line {line} is {theirs!r}, but should be"
                f" {ours!r}.",
                _remedy(folder),
            )


def _first_difference(committed: str, enforced: str) -> tuple[int, str, str]:
    """Line number, from 1, and the line on either side; empty where a side has ended."""
    one, other = committed.split("\n"), enforced.split("\n")
    longest = max(len(one), len(other))
    one += [""] * (longest - len(one))
    other += [""] * (longest - len(other))
    return next(
        (number, theirs, ours)
        for number, (theirs, ours) in enumerate(zip(one, other, strict=True), start=1)
        if theirs != ours
    )


def _remedy(folder: Path) -> str:
    return f"Read the change, then run `sottovoce notice --out {folder}` and publish it."

"""Writes all that is held about a person as JSON and as a page to read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.app.roles import open_codecs
from streams.cli.holdings import Holdings, Record
from streams.errors import SourceError
from streams.privacy import document, inventory, keyring
from streams.privacy import policy as policies
from streams.privacy.document import Block, Document, Heading, Paragraph, Table
from streams.privacy.inventory import Inventory
from streams.privacy.requests import Request
from streams.settings import Settings
from streams.transport.reader import partition_reader

FILES = ("export.json", "export.html")
SHOWN = 500
"""Rows of a table on the page; the JSON file has all."""


def prepare(folder: Path) -> None:
    """Make ``folder`` for its owner alone, unless it is there.

    Raises:
        SourceError: an export is in it already, or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(error) from None
    if any((folder / name).exists() for name in FILES):
        raise SourceError(f"{folder} holds an export already.", "Name another folder with --out.")


def write(held: Record, folder: Path) -> list[Path]:
    """Write `FILES` into ``folder``, readable by their owner only.

    Raises:
        SourceError: they are there already or cannot be written.
    """
    text = json.dumps(held, indent=2, ensure_ascii=False) + "\n"
    contents = (text, document.html(page(held)))
    try:
        return [
            _written(folder / name, content) for name, content in zip(FILES, contents, strict=True)
        ]
    except OSError as error:
        raise _unwritten(error) from None


async def gathered(settings: Settings, request: Request) -> Record:
    """Everything, as JSON knows it. ``request`` is an export that has its receipt.

    Raises:
        KeyMaterialError: the settings give no key ring.
        BrokerError: Kafka cannot be reached.
    """
    ring, rules = keyring.load(settings), policies.load(settings.policy)
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        found = Holdings(codecs, reader, request.user)
        answers = await found.answers(request, rules, ring)
        known = inventory.take(codecs.schemas, rules, settings)
        return {
            "account": request.user,
            "request": request.request_id,
            "requested_at": _iso(request.requested_at),
            "decisions": await found.decisions(),
            "requests": await found.requests(),
            "standing": await found.standing(ring),
            "deliveries": await found.deliveries(ring),
            "plays": await found.plays(),
            "rejected": await found.rejected(),
            "stores": [
                {
                    "audience": each["audience"],
                    "store": each["store"],
                    "held": None if each["held"] is None else json.loads(each["held"]),
                }
                for each in sorted(answers, key=lambda each: (each["audience"], each["store"]))
            ],
            "recipients": list(_recipients(known)),
            "fields": list(_fields(known)),
        }


def page(held: Record) -> Document:
    """The page for the person."""
    return Document("What is held about you", tuple(_blocks(held)))


def _blocks(held: Record) -> Iterator[Block]:
    yield Paragraph(
        f"For the account {held['account']}, as of {held['requested_at']}. The file `export.json` "
        "beside this page has the same for machines, and every row where a table here is cut."
    )
    yield Heading("Who receives data about you, and what for")
    yield Table(
        ("Recipient", "Purpose", "What it is used for", "Kept"),
        tuple(
            (
                each["recipient"] + (" (third party)" if each["third_party"] else ""),
                each["purpose"],
                each["description"],
                "; ".join(f"{store['name']}: {store['kept']}" for store in each["stores"]),
            )
            for each in held["recipients"]
        ),
    )
    yield Heading("What was passed to third parties")
    yield from _table(
        ("Recipient", "Categories", "Since", "Last day"),
        (
            (each["recipient"], ", ".join(each["categories"]), each["first_at"], each["last_at"])
            for each in held["deliveries"]
        ),
        "Nothing.",
    )
    yield Heading("What you decided")
    yield from _table(
        ("Purpose", "Decision", "Made"),
        (
            (each["purpose"], "allowed" if each["granted"] else "refused", each["decided_at"])
            for each in held["decisions"]
        ),
        "Nothing: what is not allowed is not done, unless the law of your country differs.",
    )
    yield Heading("What you asked for")
    yield from _table(
        ("Request", "Asked", "Identifier"),
        ((each["action"], each["requested_at"], each["request_id"]) for each in held["requests"]),
        "Nothing that is still kept.",
    )
    for each in held["stores"]:
        yield Heading(f"What is worked out from what you played: {each['store']}")
        if each["held"] is None:
            yield Paragraph(f"Nothing is held there ({each['audience']}).")
        else:
            yield from _outlined(each["held"], "")
    yield Heading("What you played, as it came in")
    yield from _table(
        ("Started", "Artist", "Everything sent with it"),
        (
            (
                str(each.get("started_at")),
                str((each.get("artist") or {}).get("name")),
                "; ".join(f"{name}: {value}" for name, value in _flat(each)),
            )
            for each in held["plays"]
        ),
        "Nothing that is still kept.",
    )
    yield Heading("What came in and could not be used")
    yield from _table(
        ("Why", "What"),
        (
            (
                f"{each['reason']}: {each['detail']}",
                "; ".join(f"{name}: {value}" for name, value in _flat(each["record"])),
            )
            for each in held["rejected"]
        ),
        "Nothing.",
    )
    yield from _field_blocks(held["fields"])


def _field_blocks(fields: Sequence[Record]) -> Iterator[Block]:
    yield Heading("Every field of a play, and what becomes of it")
    audiences = list(fields[0]["becomes"]) if fields else []
    yield Table(
        ("Field", "What it is", "Category", *(f"For {name}" for name in audiences)),
        tuple(
            (
                f"`{each['field']}`",
                each["doc"],
                ", ".join(each["categories"]),
                *(each["becomes"][name] for name in audiences),
            )
            for each in fields
        ),
    )


def _recipients(known: Inventory) -> Iterator[Record]:
    for use in known.uses:
        yield {
            "audience": use.audience,
            "recipient": use.recipient,
            "purpose": use.purpose,
            "description": use.description,
            "third_party": use.third_party,
            "categories": list(use.categories),
            "stores": [
                {"name": each.name, "holds": each.holds, "kept": each.kept} for each in use.stores
            ],
        }


def _fields(known: Inventory) -> Iterator[Record]:
    for field in known.fields:
        yield {
            "field": field.path,
            "doc": field.doc,
            "categories": list(field.categories),
            "becomes": {name: fate.words for name, fate in field.fates.items()},
        }


def _table(
    header: tuple[str, ...], rows: Iterable[tuple[str, ...]], nothing: str
) -> Iterator[Block]:
    shown = tuple(rows)
    if not shown:
        yield Paragraph(nothing)
        return
    yield Table(header, shown[:SHOWN])
    if len(shown) > SHOWN:
        yield Paragraph(f"{len(shown) - SHOWN} more rows are in `export.json`.")


def _outlined(value: Any, title: str) -> Iterator[Block]:
    """JSON of any shape as tables, each under the way to it; single values come first."""
    if isinstance(value, Mapping) and value.keys() == {"columns", "rows"}:
        yield from _headed(title, tuple(value["columns"]), value["rows"])
    elif isinstance(value, Mapping):
        single = [(name, each) for name, each in value.items() if not _holds_more(each)]
        if single:
            yield from _headed(title, ("What", "Value"), single)
        for name, each in value.items():
            if _holds_more(each):
                yield from _outlined(each, f"{title} {name}".lstrip())
    elif all(
        isinstance(each, Mapping) and not any(map(_holds_more, each.values())) for each in value
    ):
        names = tuple(value[0])
        yield from _headed(title, names, ([each.get(name) for name in names] for each in value))
    else:
        for number, each in enumerate(value, 1):
            yield from _outlined(each, f"{title} {number}")


def _headed(title: str, header: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> Iterator[Block]:
    if title:
        yield Heading(title.replace("_", " "), 3)
    yield from _table(header, (tuple(map(_cell, row)) for row in rows), "Nothing.")


def _holds_more(value: Any) -> bool:
    """Whether it takes a table of its own."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value in JSON, with the way to it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        for number, inner in enumerate(value, 1):
            yield from _flat(inner, f"{path} {number}".lstrip())
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(map(str, value))
    elif value is not None:
        yield path, str(value)


def _unwritten(error: OSError) -> SourceError:
    return SourceError(
        f"The export cannot be written: {error.strerror}.", "Name another folder with --out."
    )


def _written(file: Path, content: str) -> Path:
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w", encoding="utf-8") as sink:
        sink.write(content)
    return file


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="seconds")

"""What the report role answers to privacy commands, and the checks that it answers by.

Functions that ask the warehouse block for as long as it writes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from streams.agents.commands import Answer
from streams.agents.report_partition import RELEASE, WAREHOUSE, Owed
from streams.warehouse.store import Warehouse

PART_BYTES = 400_000
"""Longest JSON of an export in one answer, UTF-8; Kafka takes less than a megabyte at a time."""

_ERASED = (
    "rows of plays from before the erasure; the file was rewritten and its bytes searched for the"
    " pseudonym"
)


def erased(
    owed: Owed, warehouse: Warehouse, listeners: Collection[str], present: Collection[str]
) -> Answer:
    """After the rewrite. ``present`` are pseudonyms that were found in the new file's bytes.

    A listener may go on listening and is then in the file again, but for plays from before.
    """
    remaining = warehouse.holds_before(listeners, owed.command.horizon)
    wanted = warehouse.holds(listeners) or warehouse.is_restricted(listeners)
    if not wanted and not set(listeners).isdisjoint(present):
        remaining += 1
    check = f"{_ERASED}; later plays are held" if wanted else _ERASED
    return _answer(owed, WAREHOUSE, remaining, check)


def exported(owed: Owed, warehouse: Warehouse, listeners: Collection[str]) -> list[Answer]:
    """Everything the warehouse holds, in as many answers as it takes, each with valid JSON.

    Where it takes several, each has its number as ``part`` and how many there are as ``parts``.
    """
    held = warehouse.held(listeners)
    rows = warehouse.holds(listeners)
    parts = list(_parts(held))
    return [
        Answer(
            owed.command.request,
            owed.command.audience,
            WAREHOUSE,
            owed.action,
            rows,
            rows,
            "rows under the pseudonym",
            json.dumps(part | numbered, ensure_ascii=False),
        )
        for number, part in enumerate(parts, 1)
        for numbered in [{"part": number, "parts": len(parts)} if len(parts) > 1 else {}]
    ]


def released(owed: Owed, release_id: str, others: int, present: bool) -> Answer:
    """After a release that began when the command was carried out.

    ``others`` files are of earlier releases; ``present`` says whether the pseudonym was found in
    the bytes of the new one.
    """
    if owed.action == "erase":
        check = (
            f"release {release_id} was made without the plays before the erasure; its bytes were"
            " searched for the pseudonym, and files of earlier releases looked for"
        )
        return _answer(owed, RELEASE, others + present, check)
    does = "leaves out" if owed.action == "restrict" else "may count"
    return _answer(owed, RELEASE, 0, f"release {release_id} {does} the listener")


def _answer(owed: Owed, store: str, remaining: int, check: str) -> Answer:
    command = owed.command
    return Answer(
        command.request, command.audience, store, command.action, owed.removed, remaining, check
    )


def _parts(held: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``held`` in pieces of the same shape that are not too long."""
    size, part = 0, _empty(held)
    for table, contents in held["tables"].items():
        for row in contents["rows"]:
            size += len(json.dumps(row, ensure_ascii=False).encode()) + 2
            if size > PART_BYTES and any(each["rows"] for each in part["tables"].values()):
                yield part
                size, part = 0, _empty(held)
            part["tables"][table]["rows"].append(row)
    yield part


def _empty(held: dict[str, Any]) -> dict[str, Any]:
    tables = {name: {**table, "rows": []} for name, table in held["tables"].items()}
    return {**held, "tables": tables}

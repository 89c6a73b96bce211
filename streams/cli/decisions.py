"""Sends decisions on purposes, and shows those that stand."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from streams.app.roles import open_codecs
from streams.cli import console
from streams.cli.holdings import Holdings
from streams.cli.produce import send_consents
from streams.errors import SourceError
from streams.privacy.policy import PURPOSES
from streams.settings import Settings
from streams.topics import CONSENT
from streams.transport.producer import open_producer
from streams.transport.reader import partition_reader

COLUMNS = ("user", "purpose", "granted", "decided_at")
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Decision = dict[str, Any]
"""A record of the schema ``consent``."""


def made(user: str, purposes: Iterable[str], since: int | None, *, granted: bool) -> list[Decision]:
    """Decisions made now; ``since`` says from which moment on plays are covered, Unix ms."""
    now_ms = time.time_ns() // 1_000_000
    return [
        {
            "user_id": user,
            "purpose": purpose,
            "granted": granted,
            "decided_at": now_ms,
            "effective_from": since,
        }
        for purpose in dict.fromkeys(purposes)
    ]


async def send(settings: Settings, decisions: Sequence[Mapping[str, Any]]) -> None:
    """Send decisions and say how many.

    Raises:
        BrokerError: the topic is missing, or the broker does not take them.
    """
    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        await send_consents(producer, await codecs.records(CONSENT), decisions)
    console.out.print(f"{len(decisions)} decisions sent")


async def show(settings: Settings, user: str, *, as_json: bool) -> None:
    """Print the decisions of a person that stand."""
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        found = await Holdings(codecs, reader, user).decisions()
    if as_json:
        console.out.print(json.dumps(found, ensure_ascii=False), markup=False)
        return
    if not found:
        console.out.print("nothing was decided: what the policy does not allow is denied")
        return
    table = Table("purpose", "decision", "made", "effective from", box=None)
    for each in found:
        allowed = "allowed" if each["granted"] else "refused"
        table.add_row(
            each["purpose"], allowed, each["decided_at"], each.get("effective_from") or ""
        )
    console.out.print(table)


def read(file: Path) -> list[Decision]:
    """The newest decision of each person on each purpose in a CSV with the columns `COLUMNS`.

    ``granted`` is true or false, ``decided_at`` ISO 8601, in UTC where it names no zone.

    Raises:
        SourceError: the file is missing or a line does not fit; names the line, not its content.
    """
    newest: dict[tuple[str, str], Decision] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise SourceError(
                    "The file lacks columns.", f"Its first line must be {','.join(COLUMNS)}."
                )
            for number, row in enumerate(rows, 2):
                decision = _decision(row, number)
                key = decision["user_id"], decision["purpose"]
                earlier = newest.get(key)
                if earlier is None or earlier["decided_at"] <= decision["decided_at"]:
                    newest[key] = decision
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"The file cannot be read: {type(error).__name__}.", "Name a CSV file in UTF-8."
        ) from None
    return list(newest.values())


def _decision(row: Mapping[str, str | None], number: int) -> Decision:
    user, purpose, granted, decided_at = ((row[name] or "").strip() for name in COLUMNS)
    try:
        if not user or purpose not in PURPOSES:
            raise ValueError
        moment = datetime.fromisoformat(decided_at)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return {
            "user_id": user,
            "purpose": purpose,
            "granted": _WORDS[granted.lower()],
            "decided_at": int(moment.timestamp() * 1_000),
            "effective_from": None,
        }
    except (ValueError, KeyError):
        raise SourceError(
            f"Line {number} does not fit.",
            f"A line is a user, one of {', '.join(PURPOSES)}, true or false, and a time such as "
            "2026-01-31T12:00:00Z.",
        ) from None

"""Receipts for a person or a pipe, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from streams.cli import console
from streams.errors import SourceError
from streams.privacy import keyring, receipts
from streams.settings import Settings


def complete(body: Mapping[str, Any]) -> bool:
    """Whether the request was fulfilled: after an erasure nothing remains."""
    left = [each.get("remaining", 0) for each in (*body["stores"], *body["elsewhere"])]
    return body["action"] != "erase" or not any(left)


def emit(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a record of the schema ``privacy-receipt``."""
    body = json.loads(record["body"])
    if as_json:
        document = {
            "receipt": body,
            "signature": record["signature"].hex(),
            "public_key": record["public_key"].hex(),
        }
        console.out.print(json.dumps(document, ensure_ascii=False, indent=2), markup=False)
        return
    table = Table("store", "for", "removed", "remaining", "done", "check", box=None)
    for each in body["stores"]:
        table.add_row(
            each["store"],
            each["audience"],
            str(each["removed"]),
            str(each["remaining"]),
            _moment(each["finished_at"]),
            console.plain(each["check"]),
        )
    for each in body["elsewhere"]:
        left = str(each["remaining"]) if "remaining" in each else ""
        table.add_row(each["store"], "", "", left, _when(each), console.plain(_how(each)))
    console.out.print(table)
    seconds = (body["finished_at"] - body["requested_at"]) / 1_000
    console.err.print(
        f"[dim]{body['action']} asked for {_moment(body['requested_at'])}, done {seconds:.1f} s "
        f"later; signed by {record['public_key'].hex()[:16]}[/]"
    )


def verify(settings: Settings, file: Path, public_key: str | None) -> int:
    """Print whether a receipt in ``file`` holds, and by whose key; the exit code.

    Raises:
        SourceError: the file is no receipt.
        KeyMaterialError: the settings name a key ring that cannot be read.
    """
    record = _read(file)
    shown = record["public_key"].hex()
    if not receipts.verify(record):
        console.fail("The receipt is not what was signed.", "Ask for it anew.")
        return console.FAILED
    expected = public_key.lower() if public_key is not None else _own_key(settings)
    if expected is None:
        console.out.print(f"unchanged since it was signed by the key {shown}")
        console.err.print("[dim]Whose key that is, --public-key or the key ring can tell.[/]")
    elif expected != shown:
        console.fail("The receipt is signed by another key than this installation's.")
        return console.FAILED
    else:
        console.out.print(f"valid, signed by {shown}")
    return console.OK


def _own_key(settings: Settings) -> str | None:
    if settings.key is None and settings.key_file is None and settings.vault_url is None:
        return None
    return keyring.load(settings).signer().public_key().public_bytes_raw().hex()


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8"))
        body = document["receipt"]
        return {
            "request_id": body["request_id"],
            "body": receipts.canonical(body),
            "signature": bytes.fromhex(document["signature"]),
            "public_key": bytes.fromhex(document["public_key"]),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"The file is no receipt: {type(error).__name__}.",
            "`sottovoce privacy status ID --json` writes one.",
        ) from None


def _when(entry: Mapping[str, Any]) -> str:
    moment = entry.get("at", entry.get("until"))
    return "" if moment is None else _moment(moment)


def _how(entry: Mapping[str, Any]) -> str:
    words = {
        "retention": "gone by then, as its records expire",
        "compaction": "older copies gone by then",
        "deletion asked for": "deletion asked for",
        "kept": "kept",
    }
    detail = entry.get("why") or entry.get("check")
    return words[entry["how"]] + (f": {detail}" if detail else "")


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

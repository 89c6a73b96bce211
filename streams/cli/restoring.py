"""Stores that were lost come back: from a backup and Kafka, or from what Kafka still holds.

An erasure does not reach a backup. What is restored is brought up to date by the workers before
they take anything else: each store has the position of the privacy commands it includes, and the
later ones are in their topic. A backup of which that does not hold is refused.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError, for_code

from streams.agents.role import Place
from streams.agents.taste_partition import POSITIONS_KEY
from streams.cli import console
from streams.cli.backups import CHANGELOG, WAREHOUSE, Manifest, read_manifest
from streams.cli.resuming import commit, require_stopped, stored_by_taste, stored_in
from streams.cli.survey import INPUTS, Survey, group_of, survey
from streams.errors import BrokerError, SourceError, StateError, WarehouseError
from streams.settings import Settings
from streams.topics import DAY_MS, LISTENS, PRIVACY_COMMANDS, PRIVACY_REKEYS, TASTE_STATE, Topic
from streams.transport.admin import admin_client, create_topics
from streams.transport.claims import Claim, OpenClaim
from streams.transport.producer import BATCH_BYTES, REQUEST_BYTES, open_producer, send_records
from streams.transport.reader import partition_reader, read_span
from streams.transport.security import allowed, client_arguments
from streams.warehouse.store import Warehouse

_TRANSACTION_MS = 15 * 60 * 1_000
"""A partition is restored in one; Kafka's own bound, unless it was changed."""
_GONE_S = 30.0
_POLL_S = 0.2


async def restore(settings: Settings, folder: Path, roles: Iterable[str]) -> None:
    """Put back the stores of the roles that ``folder`` has, where there are none.

    Raises:
        SourceError: there is no backup, or it has none of them.
        StateError: Kafka does not have all that came since.
        BrokerError: workers of the roles run, or `taste-state` is not empty.
        WarehouseError: there is a warehouse.
    """
    manifest = read_manifest(folder)
    roles = [role for role in roles if role in manifest.seen]
    if not roles:
        raise SourceError(f"{folder} has nothing of that role.", "Name another backup.")
    found = await _stopped(settings, roles)
    for role in roles:
        require_whole(manifest, role, found, time.time())
    if "report" in roles:
        _require_no_warehouse(settings)
    if "taste" in roles:
        _require_empty(folder / TASTE_STATE.name, found)
    if "report" in roles:
        stored = await asyncio.to_thread(_put_warehouse, settings, folder / WAREHOUSE)
        await _resume(settings, "report", found, stored)
    if "taste" in roles:
        await _fill(settings, folder / TASTE_STATE.name, found)
        now = await _stopped(settings, ["taste"])
        await _resume(settings, "taste", now, await stored_by_taste(settings, now))
    console.err.print(f"[dim]done; start the workers: {', '.join(roles)}[/]")


async def rebuild(settings: Settings, role: str, *, ask: bool) -> None:
    """Throw a role's store away, if it is still there, so that it reads all that Kafka holds.

    Raises:
        BrokerError: workers of the role run, or Kafka does not delete or make `taste-state`.
    """
    found = await _stopped(settings, [role])
    await _explain(settings, role, found)
    if ask:
        typer.confirm(f"Throw away what {role} has and begin with that?", abort=True, err=True)
    if role == "taste":
        await _empty(settings, found)
    else:
        for file in _warehouse_files(settings):
            file.unlink(missing_ok=True)
    await _resume(settings, role, found, {})
    console.err.print(f"[dim]done; start the {role} worker[/]")


def require_whole(manifest: Manifest, role: str, found: Survey, now: float) -> None:
    """Check that Kafka has everything that came since a backup.

    Raises:
        StateError: it has not; says what is missing.
    """
    age_ms = (now - manifest.taken_at) * 1_000
    assert PRIVACY_COMMANDS.retention_ms is not None
    if age_ms > PRIVACY_COMMANDS.retention_ms:
        raise _refused(
            f"it is {age_ms / DAY_MS:.0f} days old, and Kafka keeps privacy commands for"
            f" {PRIVACY_COMMANDS.retention_ms / DAY_MS:.0f}: who asked to be forgotten since would"
            " be back"
        )
    for topic in INPUTS[role]:
        for place in found.places(topic.name):
            seen = manifest.seen[role].get(f"{place[0]}/{place[1]}", 0)
            span = found.spans[place]
            if seen < span.beginning:
                raise _refused(
                    f"{span.beginning - seen} records of {place[0]}/{place[1]} that came after it"
                    f" are gone{_meaning(topic)}"
                )
            if seen > span.end:
                raise _refused(f"{place[0]} was made anew since")


def _meaning(topic: Topic) -> str:
    if topic is PRIVACY_COMMANDS:
        return ": who asked to be forgotten since could be back"
    if topic is PRIVACY_REKEYS:
        return ": its pseudonyms are of an epoch that nobody can link to today's"
    return ""


def _refused(why: str) -> StateError:
    return StateError(
        f"This backup cannot be brought up to date: {why}.",
        "Destroy it. Restore a newer one, or `sottovoce rebuild` from what Kafka still holds.",
    )


async def _stopped(settings: Settings, roles: Iterable[str]) -> Survey:
    """What Kafka says, while no worker of the roles runs."""
    roles = tuple(roles)
    wanted = {topic.name: topic for role in roles for topic in (*INPUTS[role], TASTE_STATE)}
    found = await survey(settings.kafka, wanted.values(), roles)
    for role in roles:
        require_stopped(found, role)
    return found


async def _resume(
    settings: Settings, role: str, found: Survey, stored: Mapping[Place, int]
) -> None:
    """Commit where the store resumes, so that everybody sees how much is to be done."""
    places = [place for topic in INPUTS[role] for place in found.places(topic.name)]
    offsets = {place: max(stored.get(place, 0), found.spans[place].beginning) for place in places}
    await commit(settings.kafka, group_of(role), offsets)


def _warehouse_files(settings: Settings) -> tuple[Path, Path]:
    """The warehouse and its log, which DuckDB would replay into whatever file is beside it."""
    return settings.warehouse, settings.warehouse.with_suffix(".duckdb.wal")


def _require_no_warehouse(settings: Settings) -> None:
    if any(file.exists() for file in _warehouse_files(settings)):
        raise WarehouseError(
            f"There is a warehouse, or what is left of one, at {settings.warehouse}.",
            "Move it and its .wal away, or `sottovoce rebuild report` removes them.",
        )


def _require_empty(folder: Path, found: Survey) -> None:
    """Check that `taste-state` is empty and divided as the backup is."""
    places = found.places(TASTE_STATE.name)
    if {f"{number}.parquet" for _, number in places} != {file.name for file in folder.iterdir()}:
        raise BrokerError(
            f"{TASTE_STATE.name} has not as many partitions as the backup, or is not there.",
            "`sottovoce topics create` makes it, with SOTTOVOCE_PARTITIONS as it was.",
        )
    if any(found.spans[place].end for place in places):
        raise BrokerError(
            f"{TASTE_STATE.name} is not empty.", "`sottovoce rebuild taste` makes it anew."
        )


def _put_warehouse(settings: Settings, copied: Path) -> dict[Place, int]:
    target = settings.warehouse
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = target.parent / "restore"
    try:
        staging.mkdir(mode=0o700)
        file = shutil.copy(copied, staging / target.name)
        with Warehouse(Path(file), settings.sql) as warehouse:  # proof that it is one
            stored = stored_in(warehouse)
        os.replace(file, target)
    except OSError as error:
        raise WarehouseError(
            f"The warehouse cannot be put back: {error.strerror}.", "Check the data folder's disk."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return stored


async def _fill(settings: Settings, folder: Path, found: Survey) -> None:
    """Write the changelog into the empty topic, each partition whole or not at all."""
    files = {number: folder / f"{number}.parquet" for _, number in found.places(TASTE_STATE.name)}
    with console.progress("writing taste-state", len(files), "partitions") as advance:
        for number, file in files.items():
            rows = await asyncio.to_thread(pl.read_parquet, file, schema=CHANGELOG)
            # Where there are no transactions: with positions, all else is there.
            ordered = sorted(rows.rows(), key=lambda row: row[0] == POSITIONS_KEY)
            async with _claim(settings, number) as claim, claim.transaction():
                keys, values = zip(*ordered, strict=True) if ordered else ((), ())
                await claim.send_records(TASTE_STATE.name, number, keys, values)
            console.out.print(f"{len(rows):>9,}  records of {TASTE_STATE.name}/{number}")
            advance(1)


@asynccontextmanager
async def _claim(settings: Settings, number: int) -> AsyncIterator[Claim | OpenClaim]:
    """The claim that a worker has on a partition; who had it before is fenced."""
    if not settings.idempotence:
        async with open_producer(settings.kafka, idempotent=False) as producer:
            yield OpenClaim(partial(send_records, producer))
        return
    claim = await Claim.take(
        AIOKafkaProducer(
            **client_arguments(settings.kafka),
            transactional_id=f"{group_of('taste')}-{TASTE_STATE.name}-{number}",
            transaction_timeout_ms=_TRANSACTION_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )
    )
    try:
        yield claim
    finally:
        await claim.release()


async def _explain(settings: Settings, role: str, found: Survey) -> None:
    """What there will be, and will not."""
    listens = INPUTS[role][0].name
    records, since = 0, []
    async with partition_reader(settings.kafka) as reader:
        for place in found.places(listens):
            span = found.spans[place]
            records += span.end - span.beginning
            if span.end > span.beginning:
                async for batch in read_span(reader, *place, span.beginning, span.beginning + 1):
                    since.append(float(batch.timestamps[0]) / 1_000)
    oldest = datetime.fromtimestamp(min(since), UTC).date().isoformat() if since else "nothing"
    console.err.print(f"Kafka holds {records} {listens} records, the oldest of {oldest}.")
    if any(found.spans[place].beginning for place in found.places(PRIVACY_REKEYS.name)):
        console.err.print(
            "Records that link pseudonyms of a rotation are gone. Listens from before it come back"
            " under pseudonyms that no request reaches: rather restore a backup, or wait until"
            " listens of that time have left Kafka."
        )


async def _empty(settings: Settings, found: Survey) -> None:
    """Make `taste-state` anew, after fencing whoever may still write to it."""
    partitions = len(found.places(LISTENS.name))
    for _, number in found.places(TASTE_STATE.name):
        async with _claim(settings, number):
            pass
    with allowed(f"deleting {TASTE_STATE.name}"):
        async with admin_client(settings.kafka) as admin:
            deleted = await admin.delete_topics([TASTE_STATE.name])
        for _, code in deleted.topic_error_codes:
            if code not in (0, UnknownTopicOrPartitionError.errno):
                raise for_code(code)
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        (made,) = await create_topics(
            settings.kafka, [TASTE_STATE], partitions, settings.replication
        )
        if made.new:
            return
        await asyncio.sleep(_POLL_S)
    raise BrokerError(
        f"Kafka does not delete {TASTE_STATE.name}.",
        "Look whether delete.topic.enable is false, and whether all its brokers run.",
    )

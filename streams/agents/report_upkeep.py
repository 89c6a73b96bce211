"""What the report role does beside checkpoints: rewrites, releases, and the answers they allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from streams import logs, metrics
from streams.agents import report_answers
from streams.agents.commands import Answer, send_answers
from streams.agents.report_partition import RELEASE, WAREHOUSE, Owed, Partition
from streams.agents.role import Sender
from streams.avro.encode import ColumnEncoder
from streams.errors import SottoVoceError
from streams.settings import Settings
from streams.warehouse import backup, release
from streams.warehouse.rewriting import found
from streams.warehouse.store import Warehouse

log = logs.get(__name__)


class Upkeep:
    """Rewrites the warehouse's file after erasures and renames, and publishes releases.

    An erasure is answered in three steps, each after the one before: the rows go, the file is
    rewritten, a release is made. Steps of several commands are taken together.
    """

    def __init__(
        self,
        settings: Settings,
        warehouse: Warehouse,
        partitions: Mapping[int, Partition],
        sender: Sender,
        encoder: ColumnEncoder,
    ) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._partitions = partitions
        self._sender = sender
        self._encoder = encoder
        self._tending: asyncio.Task[None] | None = None
        self._rewrite_at: float | None = None
        self._released_at = time.monotonic()
        self.changed = False
        """Whether a release would tell something else than the last one did."""
        self.forgets = True
        """Whether files of earlier releases may tell of somebody who was erased since; of what the
        worker before did not come to, a new one knows nothing."""

    async def resume(self) -> None:
        """Take up what the worker before left undone."""
        if self._erasures_owed():
            self._rewrite_at = time.monotonic()
        await self.plan_rewrite()

    async def plan_rewrite(self) -> None:
        """Have the file rewritten in time if commands have made it stale."""
        if await asyncio.to_thread(self._warehouse.is_stale) and self._rewrite_at is None:
            # It begins with a checkpoint, so with the last one before its time.
            wait_s = self._settings.rewrite_s - self._settings.checkpoint_s
            self._rewrite_at = time.monotonic() + max(0.0, wait_s)

    def tend(self) -> None:
        """Begin in the background what is due, unless something is under way.

        Raises:
            Exception: what was under way failed in a way that nobody foresaw.
        """
        if self._tending is not None:
            if not self._tending.done():
                return
            self._tending.result()
        asked = backup.pending(self._settings.data)
        if asked or self._exports_owed() or self._rewrite_due() or self._release_due():
            self._tending = asyncio.create_task(self._tend())

    async def stop(self) -> None:
        """Wait for what is under way."""
        if self._tending is not None:
            with suppress(Exception):
                await self._tending

    async def _tend(self) -> None:
        try:
            await self._export()
            if self._rewrite_due():
                await self._rewrite()
            if self._release_due():
                await self._release()
            await asyncio.to_thread(backup.tidy, self._settings.data)
            if backup.pending(self._settings.data):
                await self._back_up()
        except SottoVoceError:
            # The last file and release stay: readers lose freshness only, and answers wait.
            log.exception("rewrite, release or backup failed; the last one stays")

    async def _export(self) -> None:
        for owed in self._exports_owed():
            partition = self._partitions.get(owed.partition)
            if partition is not None:  # else given up meanwhile
                names = partition.names_of([owed.command.listener])
                told = await asyncio.to_thread(
                    report_answers.exported, owed, self._warehouse, names
                )
                await self._give(partition, [owed], told)

    async def _rewrite(self) -> None:
        began = time.monotonic()
        self._rewrite_at = began + self._settings.rewrite_s  # the next attempt, should this fail
        owed = self._erasures_owed()
        names = {each: self._names(each) for each in owed}
        present = await asyncio.to_thread(self._warehouse.rewrite, set().union(*names.values()))
        for partition in list(self._partitions.values()):
            erased = [each for each in owed if each.partition == partition.number]
            answers = [
                await asyncio.to_thread(
                    report_answers.erased, each, self._warehouse, names[each], present
                )
                for each in erased
            ]
            await self._give(partition, erased, answers)
        self._rewrite_at = None
        await self.plan_rewrite()
        seconds = round(time.monotonic() - began, 3)
        metrics.WAREHOUSE_REWRITE_SECONDS.set(seconds)
        log.info("warehouse rewritten", seconds=seconds, erasures=len(owed))

    async def _release(self) -> None:
        settings = self._settings
        names = {each: self._names(each) for each in self._awaiting_release()}
        forgets = self.forgets or any(each.action == "erase" for each in names)
        request = release.take_request(settings.data)
        self.changed = self.forgets = False
        try:
            manifest = await asyncio.to_thread(
                release.publish,
                self._warehouse,
                settings.sql,
                settings.released,
                settings.min_listeners,
                datetime.now(UTC),
                request,
                forget=forgets,
            )
        except SottoVoceError:
            self.changed, self.forgets = True, self.forgets or forgets
            raise
        finally:
            self._released_at = time.monotonic()
        metrics.RELEASE_SECONDS.set(manifest.seconds)
        metrics.RELEASED_AT.set(time.time())
        log.info("released", id=manifest.id, seconds=manifest.seconds, rows=manifest.rows)
        await self._answer_released(manifest.id, names)
        if forgets:
            await asyncio.to_thread(self._renew_page)

    async def _answer_released(self, release_id: str, names: Mapping[Owed, set[str]]) -> None:
        """Answer what was owed when the release began, with the pseudonyms it is about."""
        erased = set().union(*(of for each, of in names.items() if each.action == "erase"))
        present = await asyncio.to_thread(found, self._settings.released, erased)
        others = len(release.others(self._settings.released))
        for partition in list(self._partitions.values()):
            told = [each for each in names if each.partition == partition.number]
            answers = [
                report_answers.released(
                    each, release_id, others, not present.isdisjoint(names[each])
                )
                for each in told
            ]
            await self._give(partition, told, answers)

    async def _back_up(self) -> None:
        began = time.monotonic()
        await asyncio.to_thread(backup.answer, self._warehouse, self._settings.data)
        log.info("warehouse copied for a backup", seconds=round(time.monotonic() - began, 3))

    def _renew_page(self) -> None:
        """The report beside the release, if there is one, tells of an earlier release."""
        page = self._settings.released.with_name("report.html")
        if page.is_file():
            from streams.warehouse.report import render  # loads a library of charts, seconds

            render(self._settings.released, page)

    async def _give(
        self, partition: Partition, owed: Sequence[Owed], answers: Iterable[Answer]
    ) -> None:
        """Send answers and note that they are not owed any more.

        Raises:
            BrokerError: not all were taken; they stay owed.
        """
        if not owed:
            return
        now_ms = int(time.time() * 1_000)
        await send_answers(self._sender, self._encoder, partition.number, answers, now_ms)
        await asyncio.to_thread(self._warehouse.answered, [each.due for each in owed])
        given = set(owed)
        partition.owed = [each for each in partition.owed if each not in given]

    def _owed(self) -> list[Owed]:
        return [owed for partition in self._partitions.values() for owed in partition.owed]

    def _erasures_owed(self) -> list[Owed]:
        """Those that wait for a rewrite."""
        return [each for each in self._owed() if each.store == WAREHOUSE and each.action == "erase"]

    def _exports_owed(self) -> list[Owed]:
        return [owed for owed in self._owed() if owed.action == "export"]

    def _names(self, owed: Owed) -> set[str]:
        return self._partitions[owed.partition].names_of([owed.command.listener])

    def _rewrite_due(self) -> bool:
        return self._rewrite_at is not None and time.monotonic() >= self._rewrite_at

    def _release_due(self) -> bool:
        if release.pending_request(self._settings.data) is not None:
            return True
        awaiting = self._awaiting_release()
        if any(each.action == "erase" for each in awaiting):
            return True
        waited = time.monotonic() - self._released_at >= self._settings.release_s
        return waited and (self.changed or bool(awaiting))

    def _awaiting_release(self) -> list[Owed]:
        """What the next release answers; of erasures, those whose rewrite is done."""
        owed = self._owed()
        waiting = {
            (each.partition, each.command.offset) for each in owed if each.store == WAREHOUSE
        }
        return [
            each
            for each in owed
            if each.store == RELEASE and (each.partition, each.command.offset) not in waiting
        ]

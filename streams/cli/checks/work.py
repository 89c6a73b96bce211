"""What the installation does: releases, rejections, requests, and what its workers say."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams import topics
from streams.agents.codecs import Codecs
from streams.agents.reading import RowReader
from streams.app import faults
from streams.app.roles import PORTS, open_codecs
from streams.cli.checks.answer import Answer
from streams.cli.survey import Survey
from streams.privacy import requests
from streams.settings import Settings
from streams.transport.reader import partition_reader, read_span
from streams.warehouse import release as releases

HOUR_S = 3_600
_DAY_S = 24 * HOUR_S
_WELL_SHARE = 0.01
"""More of the plays rejected than this is a fault of somebody."""
_LOOKED_AT = 20_000
"""Rejections whose reason is looked at, per partition: the newest."""
_RELEASES_LATE = 10
_LEAST_LATE_S = 600.0
_PAGE_S = 3.0


async def release(settings: Settings, found: Survey) -> list[Answer]:
    """Age of the newest release, and whether it should be newer."""
    manifest = releases.read_manifest(settings.data)
    newest = await _newest(settings, found, topics.ANALYTICS_LISTENS.name)
    if manifest is None:
        if newest is None:
            return [Answer(None, "none yet, and no listens")]
        return [
            Answer(
                False if time.time() - newest > _LEAST_LATE_S else None,
                f"none in {settings.data}, though there are listens",
                "Run the report worker, with the same SOTTOVOCE_DATA.",
            )
        ]
    published = datetime.fromisoformat(manifest.published_at).timestamp()
    age = f"{_span(time.time() - published)} old"
    bound = max(_RELEASES_LATE * settings.release_s, _LEAST_LATE_S)
    if newest is not None and newest > published and time.time() - published > bound:
        return [
            Answer(
                False,
                f"{age}, and listens came since",
                "The report worker's log says why; `sottovoce release` makes one now.",
            )
        ]
    return [Answer(True, age)]


async def rejected(settings: Settings, found: Survey) -> list[Answer]:
    """Records rejected in the last hour, by reason, and their share of the plays."""
    since_ms = int((time.time() - HOUR_S) * 1_000)
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        starts = await _since(reader, found, topics.REJECTED.name, since_ms)
        ends = {place: found.spans[place].end for place in starts}
        count = sum(ends[place] - start for place, start in starts.items())
        if not count:
            return [Answer(True, "none in the last hour")]
        plays = sum(
            found.spans[place].end - start
            for place, start in (await _since(reader, found, topics.PLAYS.name, since_ms)).items()
        )
        reasons: Counter[str] = Counter()
        for (topic, number), start in starts.items():
            end = ends[topic, number]
            first = max(start, end - _LOOKED_AT)
            async for batch in read_span(reader, topic, number, first, end):
                values = [value for value in batch.values if value is not None]
                reasons.update((await codecs.decode(values, ("reason",)))["reason"].to_list())
    share = count / max(plays, count)
    told = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    if count > reasons.total():
        told = f"of the newest {reasons.total()}: {told}"
    return [
        Answer(
            share <= _WELL_SHARE,
            f"{count} in the last hour, {share:.1%} of the plays ({told})",
            "`sottovoce rejected list` names them; `sottovoce rejected replay` sends them again"
            " once the cause is gone.",
        )
    ]


async def open_requests(settings: Settings, found: Survey) -> list[Answer]:
    """Privacy requests without a receipt."""
    waiting: dict[str, float] = {}
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        await _asked(codecs, reader, found, waiting)
        for topic, number in found.places(topics.PRIVACY_RECEIPTS.name):
            async for batch in read_span(reader, topic, number):
                for key in batch.keys:
                    waiting.pop((key or b"").decode("utf-8", "replace"), None)
    if not waiting:
        return [Answer(True, "every one has its receipt")]
    age = time.time() - min(waiting.values())
    return [
        Answer(
            False if age > HOUR_S else None,
            f"{len(waiting)} without a receipt, the oldest asked {_span(age)} ago",
            "Gate, taste and report must all run; the law gives a month.",
        )
    ]


async def noted(settings: Settings) -> list[Answer]:
    """Why workers that shared this data folder stopped, in the last day."""
    now = time.time()
    told: dict[tuple[str, str], list[faults.Fault]] = {}
    for fault in faults.recent(settings, now - _DAY_S):
        told.setdefault((fault.role, fault.reason), []).append(fault)
    if not told:
        return [Answer(True, "no worker stopped on one in the last day")]
    answers = []
    for (role, reason), same in told.items():
        age = now - same[-1].at
        times = f", {len(same)} times" if len(same) > 1 else ""
        answers.append(
            Answer(
                False if age < HOUR_S else None,
                f"{role} stopped {_span(age)} ago{times}: {reason}",
                same[-1].remedy or "Its log has more.",
            )
        )
    return answers


async def workers(settings: Settings) -> list[Answer]:
    """What the workers on this machine say of themselves."""
    ports = {f"port {settings.web_port}": settings.web_port} if settings.web_port else PORTS
    host = "127.0.0.1" if settings.web_host in ("0.0.0.0", "::") else settings.web_host  # noqa: S104 - where to ask
    answers = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PAGE_S)) as session:
        for name, port in ports.items():
            try:
                async with session.get(f"http://{host}:{port}/readyz") as response:
                    text = " ".join((await response.text())[:500].split())
                    fine = response.status == 200
            except TimeoutError:
                text, fine = f"its page did not answer within {_PAGE_S:.0f} s", False
            except (aiohttp.ClientError, OSError):
                continue
            remedy = "It exits by itself if that lasts; else end it, it resumes from its commits."
            answers.append(Answer(fine, f"{name}: {text}", remedy))
    return answers or [
        Answer(None, f"no page at {host}, ports {', '.join(map(str, ports.values()))}")
    ]


async def _asked(
    codecs: Codecs, reader: AIOKafkaConsumer, found: Survey, waiting: dict[str, float]
) -> None:
    """Fill ``waiting``: by identifier, when it was asked. Refused requests are none."""
    rows = RowReader(codecs.registry, requests.FIELDS)
    for topic, number in found.places(topics.PRIVACY_REQUESTS.name):
        async for batch in read_span(reader, topic, number):
            for row, asked in (await rows.read(batch.values))[0]:
                stamp = int(batch.timestamps[row])
                request = requests.parse(asked, stamp + 300_000)
                if isinstance(request, requests.Request) and request.action != requests.REKEY:
                    waiting[request.request_id] = stamp / 1_000


async def _since(
    reader: AIOKafkaConsumer, found: Survey, topic: str, moment_ms: int
) -> dict[tuple[str, int], int]:
    """First offset of records that came at a time or later, by partition."""
    places = {TopicPartition(*place): moment_ms for place in found.places(topic)}
    answers = await reader.offsets_for_times(places) if places else {}
    return {
        (tp.topic, tp.partition): found.spans[tp.topic, tp.partition].end
        if answer is None
        else answer.offset
        for tp, answer in answers.items()
    }


async def _newest(settings: Settings, found: Survey, topic: str) -> float | None:
    """When the newest record of a topic came, Unix seconds."""
    newest: list[float] = []
    async with partition_reader(settings.kafka) as reader:
        for place in found.places(topic):
            span = found.spans[place]
            if span.end > span.beginning:
                async for batch in read_span(reader, *place, span.end - 1, span.end):
                    newest.append(float(batch.timestamps[-1]) / 1_000)
    return max(newest, default=None)


def _span(seconds: float) -> str:
    for unit, size in (("days", _DAY_S), ("hours", HOUR_S), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"

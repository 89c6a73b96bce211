"""``sottovoce doctor``: what is wrong with this machine, configuration and installation?

What Kafka says is asked twice, some seconds apart, since only what moves is well.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from streams.cli import console
from streams.cli.checks import cluster, groups, machine, work
from streams.cli.checks.answer import Answer
from streams.cli.survey import INPUTS, Survey, survey
from streams.errors import AccessError, SottoVoceError
from streams.settings import Settings
from streams.topics import Topic

_APART_S = 2.0
_LONGEST_S = 10.0
"""A worker that commits nothing for so long though there is lag does not move."""

Here = Callable[[Settings], Awaitable[Answer]]
There = Callable[[Settings, Survey], Awaitable[list[Answer]]]
Said = Callable[[Settings], Awaitable[list[Answer]]]


async def run(settings: Settings, *, as_json: bool = False) -> bool:
    """Print every check with its answer; whether none failed."""
    rows = []
    async for name, answer in examine(settings):
        rows.append({"check": name, "fine": answer.fine, "found": answer.found})
        if answer.remedy and not answer.fine:
            rows[-1]["do"] = answer.remedy
        if not as_json:
            _print(name, answer)
    if as_json:
        console.out.print(json.dumps(rows, indent=2), markup=False)
    return all(row["fine"] is not False for row in rows)


async def examine(settings: Settings) -> AsyncIterator[tuple[str, Answer]]:
    """Name and answer of each check, as they come."""
    for name, here in HERE.items():
        for answer in await _told(_one(here(settings))):
            yield name, answer
    try:
        wanted = _wanted(settings)
        before, after, seconds = await _watched(settings, wanted)
    except SottoVoceError as error:
        yield "broker", Answer(False, error.problem, error.remedy)
        yield "topics, workers' lag", Answer(None, "not checked: Kafka does not say")
    else:
        for answer in cluster.brokers(settings, after):
            yield "broker", answer
        for answer in cluster.kept(settings, after, wanted):
            yield "topics", answer
        for role in INPUTS:
            answers = groups.work(before, after, role, seconds)
            if settings.idempotence:  # the embedded broker says less than there is
                answers += groups.made_anew(after, role)
            for answer in answers:
                yield role, answer
        for name, there in THERE.items():
            for answer in await _told(there(settings, after)):
                yield name, answer
    for name, said in SAID.items():
        for answer in await _told(said(settings)):
            yield name, answer


async def _watched(settings: Settings, wanted: Sequence[Topic]) -> tuple[Survey, Survey, float]:
    """Two surveys, and the seconds between them: more where something seems to stand still."""
    began = time.monotonic()
    with console.err.status("asking Kafka") as status:
        before = after = await survey(settings.kafka, wanted)
        while (passed := time.monotonic() - began) < _LONGEST_S:
            still = [role for role in INPUTS if not groups.moving(before, after, role)]
            if after is not before and not any(after.groups[role].members for role in still):
                break
            status.update(f"watching whether offsets move, {passed:.0f} s")
            await asyncio.sleep(_APART_S)
            after = await survey(settings.kafka, wanted)
    return before, after, time.monotonic() - began


def _wanted(settings: Settings) -> Sequence[Topic]:
    from streams.privacy import policy

    return policy.topics(policy.load(settings.policy))


async def _one(answer: Awaitable[Answer]) -> list[Answer]:
    return [await answer]


async def _told(asked: Awaitable[list[Answer]]) -> list[Answer]:
    """The answers, or what kept a check from giving any."""
    try:
        return await asked
    except AccessError as error:
        return [Answer(None, f"cannot be said by this user. {error.problem}", error.remedy)]
    except SottoVoceError as error:
        return [Answer(False, error.problem, error.remedy)]
    except OSError as error:
        return [Answer(False, f"{error.filename}: {error.strerror}", "Make it readable.")]


def _print(name: str, answer: Answer) -> None:
    mark = {True: "[green]ok[/]  ", False: "[red]fail[/]", None: "[yellow]none[/]"}[answer.fine]
    console.out.print(f"{mark}  {name}: {console.plain(answer.found)}")
    if answer.remedy and not answer.fine:
        console.out.print(f"      [dim]do: {console.plain(answer.remedy)}[/]")


HERE: dict[str, Here] = {
    "Python": machine.python,
    "embedded broker": machine.embedded,
    "Apache Kafka": machine.apache,
    "schemas and policy": machine.schemas,
    "pseudonym key": machine.key,
    "data folder": machine.data,
    "schema registry": machine.registry,
}
"""This machine and its configuration."""

THERE: dict[str, There] = {
    "release": work.release,
    "rejected": work.rejected,
    "privacy requests": work.open_requests,
}
"""What is read from topics."""

SAID: dict[str, Said] = {"workers": work.workers, "faults": work.noted}
"""What workers say or said, which they do without Kafka too."""

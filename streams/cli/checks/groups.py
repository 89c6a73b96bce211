"""Each role's consumer group: whether anybody works, how much waits, whether it moves."""

from __future__ import annotations

from streams.cli.checks.answer import Answer
from streams.cli.survey import INPUTS, Survey


def moving(before: Survey, after: Survey, role: str) -> bool:
    """Whether a role commits, or has nothing to."""
    was, now = before.groups[role].committed, after.groups[role].committed
    return not after.lags(role) or any(now[place] > was.get(place, -1) for place in now)


def work(before: Survey, after: Survey, role: str, seconds: float) -> list[Answer]:
    """Members, lag and movement between two surveys so many seconds apart, and what is lost."""
    group, lags = after.groups[role], after.lags(role)
    waiting = f"{sum(lags.values())} records wait" + (
        f" ({', '.join(f'{topic} {lag}' for topic, lag in lags.items())})" if lags else ""
    )
    worker = "1 worker" if len(group.members) == 1 else f"{len(group.members)} workers"
    answers = []
    if not group.members:
        found = f"no worker runs, {waiting}" if lags else "no worker runs; nothing waits"
        if group.state == "Dead":
            found += "; none has run yet"
        remedy = (
            f"`sottovoce worker {role}`; its last log line, or `faults` here, says why it ended."
        )
        answers.append(Answer(False if lags else None, found, remedy))
    elif group.state != "Stable":
        answers.append(
            Answer(None, f"{worker}, {waiting}; the group rebalances", "Look again in a minute.")
        )
    elif not moving(before, after, role):
        answers.append(
            Answer(
                False,
                f"{worker}, but nothing was committed for {seconds:.0f} s and {waiting}",
                "`workers` here, or its /readyz, says what hangs; after SOTTOVOCE_STALL_EXIT_S it"
                " exits to be started anew.",
            )
        )
    else:
        answers.append(Answer(True, f"{worker}, {waiting}"))
    return answers + _lost(after, role)


def _lost(found: Survey, role: str) -> list[Answer]:
    answers = []
    for topic in INPUTS[role]:
        lost = {
            number: found.spans[name, number].beginning - found.groups[role].committed[name, number]
            for name, number in found.places(topic.name)
            if (name, number) in found.groups[role].committed
        }
        lost = {number: records for number, records in lost.items() if records > 0}
        if lost:
            where = ", ".join(f"{topic.name}/{number} {count}" for number, count in lost.items())
            answers.append(
                Answer(
                    False,
                    f"{sum(lost.values())} records were removed by retention before {role} took"
                    f" them: {where}",
                    "They are lost unless who sent them sends them again. Run more workers, and"
                    " raise an alarm on lag well before the topic's time is over.",
                )
            )
    return answers


def made_anew(found: Survey, role: str) -> list[Answer]:
    """Where a role has done more than there is."""
    group = found.groups[role]
    ahead = [
        f"{topic}/{number}"
        for topic, number in sorted(found.spans)
        if group.committed.get((topic, number), 0) > found.spans[topic, number].end
    ]
    if not ahead:
        return []
    return [
        Answer(
            False,
            f"{role} is ahead of the end of {', '.join(ahead)}: the topic was made anew, or a"
            " broker lost acknowledged records",
            "What comes now would be taken for repetitions. Have every topic of the installation"
            " made anew with it, and move the warehouse away.",
        )
    ]

"""How the taste role carries out privacy commands.

Everything here is in memory; `taste_partition.Writer` writes it. A command has the same outcome
whether the listens around it come before or after: what an erasure spares, because it started after
its time, is folded again from the topic. Nor does it matter whether a rekey comes before or after:
two states become one only after what holds for one of them was done to the other.

An exclusion is exact as long as `listens` holds every play that the state counts (their numbers are
compared): the listener is folded again without them. Later the plays that the topic still holds are
subtracted, which makes all sums exact but leaves the time of first plays; of older plays the state
knows only half years: an artist's are taken out of the artists and stay in totals, genres and
rhythm, and without an artist they cannot be told apart and stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import polars as pl

from streams import metrics
from streams.agents.commands import Answer, Command, Held, Rekey
from streams.agents.intake import History
from streams.agents.taste_partition import Partition
from streams.errors import StateError
from streams.privacy.standing import Exclusion
from streams.taste.decay import BAND, BANDS, MINUTE_MS
from streams.taste.snapshot import Span
from streams.taste.state import TasteState
from streams.topics import PROFILES, TASTE_STATE

ROLE = "taste"
NO_HISTORY = History(pl.DataFrame(), None)
_END = BAND * BANDS * MINUTE_MS
_NONE = "the listener has no state"


def needing_history(partition: Partition, commands: Iterable[Command]) -> set[str]:
    """Listeners of whom ``commands`` cannot be carried out without their listens."""
    privacy, needing = partition.privacy, set()
    for command in commands:
        name = privacy.current(command.listener)
        if command.action == "exclude" or (
            command.action == "erase" and _spares(partition.state.span(name), command.horizon)
        ):
            needing.add(name)
    return {name for name in needing if name in partition.state}


def needing_alignment(partition: Partition, rekeys: Iterable[Rekey]) -> set[str]:
    """Listeners who become one with another for whom something else holds."""
    privacy = partition.privacy
    pairs = ((privacy.current(each.old), privacy.current(each.new)) for each in rekeys)
    apart = {name for pair in pairs if not privacy.same_rules(*pair) for name in pair}
    return {name for name in apart if name in partition.state}


def apply(partition: Partition, rekeys: Sequence[Rekey], history: History) -> None:
    """Have listeners go on under new pseudonyms, and note what is to write for it.

    No listener may be in two different ones of ``rekeys``; ``history`` has the listens of those
    that `needing_alignment` named.
    """
    privacy = partition.privacy
    pairs: list[tuple[str, str, int]] = []
    both: set[str] = set()
    for rekey in rekeys:
        old, new = privacy.current(rekey.old), privacy.current(rekey.new)
        if not privacy.same_rules(old, new):
            _align(partition, old, new, history)
            both.add(old)
        if privacy.restricted([old, new]):
            both.add(old)
        privacy.note(rekey)
        pairs.append((old, new, rekey.epoch))
    both.update(partition.state.rename_many(pairs))
    for rekey, (old, new, _) in zip(rekeys, pairs, strict=True):
        partition.next_rekey = rekey.offset + 1
        # The old one always: a profile may stand there that a crash left without its state.
        partition.step({old, new} if old in both else {old} - {new})
    metrics.PRIVACY_COMMANDS.labels(ROLE, "rekey").inc(len(rekeys))


def carry_out(partition: Partition, command: Command, history: History, items: int) -> None:
    """Carry ``command`` out and note what is to write for it, answers included.

    ``history`` has the listens of those that `needing_history` named; ``items`` is how many artists
    and genres a profile lists per term.

    Raises:
        StateError: the command is of a kind that this release does not know.
    """
    touched = {partition.privacy.current(command.listener), command.listener}
    match command.action:
        case "erase":
            answers = _erase(partition, command, history)
        case "exclude":
            answers = _exclude(partition, command, history)
        case "restrict" | "lift":
            answers = _restrict(partition, command)
        case "export":
            answers = _export(partition, command, items)
            touched = set()
        case _:
            raise StateError(
                "A privacy command asks for what this release does not know.",
                "Run the release that the gate runs.",
            )
    partition.next_command = command.offset + 1
    partition.step(touched, answers)
    metrics.PRIVACY_COMMANDS.labels(ROLE, command.action).inc()


def _erase(partition: Partition, command: Command, history: History) -> list[Answer]:
    name, state = partition.privacy.current(command.listener), partition.state
    published = not partition.privacy.restricted([name])
    removed = int(_erase_before(partition, name, command.horizon, history))
    after = state.span(name)
    old = int(after is not None and after.first < command.horizon)
    found = "none" if after is None else "only plays after that time"
    check = f"state asked for the listener: {found}"
    return [
        _answer(command, TASTE_STATE.name, removed, old, check),
        _answer(command, PROFILES.name, removed * published, old, f"made of the state; {check}"),
    ]


def _erase_before(partition: Partition, name: str, before: int, history: History) -> bool:
    """Remove what ``name`` played before ``before``, ms, and whether there was anything."""
    state = partition.state
    partition.privacy.suppress(name, before)
    span = state.span(name)
    if span is None or span.first >= before:
        return False
    state.forget(name)
    if _spares(span, before):
        state.fold(_listens(history, partition.privacy, name))
    return True


def _spares(span: Span | None, before: int) -> bool:
    """Whether some of the plays, but not all, started before ``before``."""
    return span is not None and span.first < before <= span.last


def _exclude(partition: Partition, command: Command, history: History) -> list[Answer]:
    name = partition.privacy.current(command.listener)
    outcome = _leave_out(partition, name, command.exclusion, history)
    return [
        _answer(command, TASTE_STATE.name, *outcome),
        _answer(command, PROFILES.name, *outcome),
    ]


def _leave_out(
    partition: Partition, name: str, rule: Exclusion, history: History
) -> tuple[int, int, str]:
    """Take what ``rule`` means out of the state of ``name``: removed, remaining, check."""
    state, privacy = partition.state, partition.privacy
    were = _listens(history, privacy, name)
    privacy.exclude(name, {rule})
    kept = _listens(history, privacy, name)
    span = state.span(name)
    if span is None:
        return 0, 0, _NONE
    if len(were) != span.plays:
        return _take_out(state, name, span, rule, were, kept, history.since)
    if len(kept) < len(were):
        state.forget(name)
        state.fold(kept)
    return len(were) - len(kept), 0, "exact: state folded again from every play of the listener"


def _align(partition: Partition, old: str, new: str, history: History) -> None:
    """Have what holds for one of two listeners, who are one person, hold for both."""
    privacy = partition.privacy
    both = [privacy.suppressed[name] for name in (old, new) if name in privacy.suppressed]
    rules = privacy.exclusions.get(old, frozenset()) | privacy.exclusions.get(new, frozenset())
    for name in (old, new):
        if both:
            _erase_before(partition, name, max(both), history)
        for rule in rules - privacy.exclusions.get(name, frozenset()):
            _leave_out(partition, name, rule, history)


def _take_out(
    state: TasteState,
    name: str,
    span: Span,
    exclusion: Exclusion,
    were: pl.DataFrame,
    kept: pl.DataFrame,
    since: int | None,
) -> tuple[int, int, str]:
    """Exclude from a state that includes more than the topic holds: removed, remaining, check."""
    artist = exclusion.artist
    start = 0 if exclusion.start is None else exclusion.start
    until = _END if exclusion.until is None else exclusion.until
    if artist is None and start <= span.first and span.last < until:
        state.forget(name)
        return span.plays, 0, "exact: every play of the listener is excluded"
    since = span.last + 1 if since is None else since
    removed = len(were) - len(kept)
    if removed:
        newest = int(kept["started_at"].to_numpy().max()) if len(kept) else since
        state.subtract(name, were.join(kept, on="offset", how="anti"), newest)
    check = "approximate: subtracted from all sums; times of first plays stay"
    if start >= since:
        return removed, 0, check
    older = start, min(until, since)
    if artist is None:
        rows = state.artist_rows(name, None, *older)
        return removed, rows, f"{check}; plays older than the topic stay"
    rows = state.drop_artist(name, artist, *older)
    remaining = state.artist_rows(name, artist, *older)
    return removed + rows, remaining, f"{check}; older ones stay in totals, genres and rhythm"


def _restrict(partition: Partition, command: Command) -> list[Answer]:
    name = partition.privacy.current(command.listener)
    was = bool(partition.privacy.restricted([name]))
    partition.privacy.note(command)
    restricted = bool(partition.privacy.restricted([name]))
    published = name in partition.state
    if restricted:
        check = "profile deleted; none is published until the restriction is lifted"
    else:
        check = "profile published again" if published else _NONE
    removed = int(restricted and published and not was)
    return [
        _answer(command, TASTE_STATE.name, 0, int(published), "kept as it is"),
        _answer(command, PROFILES.name, removed, int(published and not restricted), check),
    ]


def _export(partition: Partition, command: Command, items: int) -> list[Answer]:
    name, state = partition.privacy.current(command.listener), partition.state
    held = name in state
    published = held and not partition.privacy.restricted([name])
    profile = next(state.profiles([name], items)) if published else None
    contents = {TASTE_STATE.name: state.held(name) if held else None, PROFILES.name: profile}
    return [
        _answer(
            command,
            store,
            int(content is not None),
            int(content is not None),
            "state asked for the listener",
            held=None if content is None else json.dumps(content, ensure_ascii=False),
        )
        for store, content in contents.items()
    ]


def _answer(
    command: Command, store: str, removed: int, remaining: int, check: str, held: str | None = None
) -> Answer:
    return Answer(
        command.request, command.audience, store, command.action, removed, remaining, check, held
    )


def _listens(history: History, privacy: Held, listener: str) -> pl.DataFrame:
    """What of ``history`` belongs into the state of ``listener``."""
    if history.listens.is_empty():
        return history.listens
    return privacy.admit(history.listens).filter(pl.col("listener") == listener)

"""What the report role has of one partition, and what the privacy commands there come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from streams import metrics
from streams.agents.commands import Command, Held, Rekey
from streams.agents.intake import Admitted, Intake
from streams.agents.role import Done
from streams.errors import StateError
from streams.topics import PRIVACY_COMMANDS, PRIVACY_REKEYS
from streams.warehouse import facts
from streams.warehouse.facts import Partials
from streams.warehouse.people import Changes, Due

ROLE = "report"
WAREHOUSE, RELEASE = "warehouse", "release"
STORES: Mapping[str, tuple[str, ...]] = {
    "erase": (WAREHOUSE, RELEASE),
    "restrict": (RELEASE,),
    "lift": (RELEASE,),
    "export": (WAREHOUSE,),
    "exclude": (),
}
"""Stores that answer, by action. An exclusion is about profiles; there are none here."""

_DAY_MS = 24 * facts.HOUR_MS


@dataclass(frozen=True, slots=True)
class Owed:
    """An answer that ``store`` owes for ``command``, which removed so many rows."""

    partition: int
    command: Command
    store: str
    removed: int

    @property
    def action(self) -> str:
        """What the command asked for."""
        return self.command.action

    @property
    def due(self) -> Due:
        """What the warehouse knows it by."""
        return Due(self.partition, self.command.offset, self.store)


@dataclass(slots=True)
class Partition:
    """How far a partition of listens, commands and rekeys has come, and what is to be written.

    Attributes:
        next_command: first offset of ``privacy-commands`` that was not taken.
        next_rekey: the same of ``privacy-rekeys``.
        waiting: batches to acknowledge.
        admitted: listens to append.
        unreadable: records among them that do not decode.
        commands: to carry out.
        rekeys: to carry out.
        owed: answers to commands that were carried out.
    """

    number: int
    intake: Intake
    privacy: Held
    next_command: int
    next_rekey: int
    waiting: list[Done] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)
    unreadable: int = 0
    commands: list[Command] = field(default_factory=list)
    rekeys: list[Rekey] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    _erased: set[str] = field(default_factory=set)

    @property
    def listens(self) -> int:
        """Listens to append."""
        return sum(len(each.listens) for each in self.admitted)

    @property
    def commanded(self) -> bool:
        """Whether there is anything to carry out."""
        return bool(self.commands or self.rekeys)

    def take_commands(self, commands: Sequence[Command], next_offset: int) -> None:
        """Have commands hold for listens from now on, and carry them out at the next checkpoint.

        Raises:
            StateError: one is of a kind that this release does not know.
        """
        for command in commands:
            if command.offset < self.next_command:
                continue
            if command.action not in STORES:
                raise StateError(
                    "A privacy command asks for what this release does not know.",
                    "Run the release that the gate runs.",
                )
            self.privacy.note(command)
            self.commands.append(command)
            if command.action == "erase":
                self._erased.add(command.listener)
        self.next_command = max(self.next_command, next_offset)

    def take_rekeys(self, rekeys: Sequence[Rekey], next_offset: int) -> None:
        """The same with rekeys."""
        for rekey in rekeys:
            if rekey.offset < self.next_rekey:
                continue
            old, new = self.privacy.current(rekey.old), self.privacy.current(rekey.new)
            if not self.privacy.same_rules(old, new):
                self._erased.add(old)  # an erasure came first, and under one of the names only
            self.privacy.note(rekey)
            self.rekeys.append(rekey)
        self.next_rekey = max(self.next_rekey, next_offset)

    def names_of(self, listeners: Iterable[str]) -> set[str]:
        """All pseudonyms that stand for any of ``listeners``."""
        return self.privacy.names_of({self.privacy.current(each) for each in listeners})

    def erased(self) -> dict[str, int]:
        """By every pseudonym of those to be erased, the moment before which facts of plays go."""
        suppressed, current = self.privacy.suppressed, self.privacy.current
        return {name: suppressed[current(name)] for name in self.names_of(self._erased)}

    def kept(self, history: pl.DataFrame, listeners: set[str]) -> list[Partials]:
        """Facts of what the erasures of ``listeners`` take along of plays they are not about.

        ``history`` has the listens of their topic that the facts include.
        """
        if history.is_empty():
            return []
        names = {self.privacy.current(each) for each in listeners}
        ends = {
            name: -(-self.privacy.suppressed[name] // _DAY_MS) * _DAY_MS for name in names
        }  # of the last day whose facts go
        listens = self.privacy.admit(history).filter(pl.col("listener").is_in(names))
        end = pl.col("listener").replace_strict(ends, return_dtype=pl.Int64)
        return [facts.partials(listens.filter(pl.col("started_at") < end))]

    def changes(self, erased: Mapping[str, int], kept: Sequence[Partials]) -> Changes:
        """What the commands and rekeys to carry out do to the warehouse."""
        current = self.privacy.current
        names: dict[str, set[str]] = defaultdict(set)
        for name in erased:
            names[current(name)].add(name)
        restricted: dict[str, bool] = {}
        for command in self.commands:
            if command.action in ("restrict", "lift"):
                restricted[current(command.listener)] = command.action == "restrict"
            elif command.action == "erase" and command.request:
                # Somebody asked to be forgotten. That they restricted the use of what there was,
                # the gate remembers; a pseudonym would stay here.
                restricted[current(command.listener)] = False
        return Changes(
            erased=erased,
            kept=kept,
            renamed={each.old: current(each.old) for each in self.rekeys},
            restricted=restricted,
            next_offset={
                (PRIVACY_COMMANDS.name, self.number): self.next_command,
                (PRIVACY_REKEYS.name, self.number): self.next_rekey,
            },
            due=[
                Due(
                    self.number,
                    command.offset,
                    store,
                    names[current(command.listener)] if store == WAREHOUSE else (),
                )
                for command in self.commands
                if command.request
                for store in STORES[command.action]
            ],
        )

    def carried_out(self, changes: Changes, removed: Mapping[str, int]) -> None:
        """Note that ``changes`` are durable and removed so many rows by listener."""
        commands = {command.offset: command for command in self.commands}
        for due in changes.due:
            rows = sum(removed.get(name, 0) for name in due.listeners)
            self.owed.append(Owed(self.number, commands[due.offset], due.store, rows))
        for command in self.commands:
            metrics.PRIVACY_COMMANDS.labels(ROLE, command.action).inc()
        metrics.PRIVACY_COMMANDS.labels(ROLE, "rekey").inc(len(self.rekeys))
        self.commands, self.rekeys, self._erased = [], [], set()

    def appended(self, suppressed: int) -> None:
        """Note that listens and positions are durable, but for those suppressed: acknowledge."""
        metrics.count_intake(
            ROLE,
            folded=self.listens - suppressed,
            repeated=sum(each.repeated for each in self.admitted),
            duplicates=sum(each.duplicates for each in self.admitted),
            unreadable=self.unreadable,
        )
        metrics.SUPPRESSED.labels(ROLE).inc(suppressed)
        for done in self.waiting:
            done()
        self.waiting, self.admitted, self.unreadable = [], [], 0

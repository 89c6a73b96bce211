"""Opening the boundary for writer schemas: planned where the registry has one, else closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from streams import logs
from streams.avro.registry import Registry
from streams.errors import Reason, RegistryError, SchemaError, UnknownSchemaId
from streams.privacy.boundary import Boundary

WAIT_S = 60.0
"""How long a registry that cannot be reached is asked again, before the worker gives up."""
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 10.0
_AT_ONCE = 16
"""Questions asked at the same time: a batch may carry as many ids as records."""

log = logs.get(__name__)


class Writers:
    """Asks a registry. Nothing is rejected because it does not answer."""

    def __init__(self, registry: Registry, wait_s: float = WAIT_S) -> None:
        self._registry = registry
        self._wait_s = wait_s

    async def open(self, boundary: Boundary, schema_ids: Iterable[int]) -> None:
        """Open or close ``boundary`` for each of the ids that it misses.

        Raises:
            RegistryError: the registry did not answer for as long as is waited.
        """
        missing = sorted(boundary.missing(schema_ids))
        for first in range(0, len(missing), _AT_ONCE):
            some = missing[first : first + _AT_ONCE]
            answers = await asyncio.gather(*map(self._ask, some))
            for schema_id, answer in zip(some, answers, strict=True):
                _decide(boundary, schema_id, answer)
        unknown = sum(boundary.unknown(each) for each in missing)
        if unknown:
            log.error("unknown schemas: their records are rejected", ids=unknown)

    async def _ask(self, schema_id: int) -> Any:
        """The schema, or why there is none."""
        waited, pause = 0.0, _PAUSE_S
        while True:
            try:
                return await self._registry.get(schema_id)
            except (UnknownSchemaId, SchemaError) as error:
                return error
            except RegistryError as error:
                if waited >= self._wait_s:
                    raise
                left = round(self._wait_s - waited)
                log.warning("waiting for the registry", problem=error.problem, gives_up_in_s=left)
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE_S)


def _decide(boundary: Boundary, schema_id: int, answer: Any) -> None:
    match answer:
        case UnknownSchemaId():
            boundary.close(schema_id, Reason.UNKNOWN_SCHEMA, "no schema of this id")
            return
        case SchemaError():
            problem: str | None = answer.problem
            boundary.close(schema_id, Reason.UNPLANNABLE_SCHEMA, answer.problem)
        case _:
            problem = boundary.open(schema_id, answer)
    if problem is not None:
        log.error("schema not planned: rejected", schema_id=schema_id, problem=problem)

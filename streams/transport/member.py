"""A member of a consumer group whose faults are heard, and that gives way to its successor.

aiokafka keeps a fault of its group (no access any more, an answer nobody expects) until somebody
asks for records; Faust asks not while it rebalances, and otherwise not where the fault is kept. The
worker would live on without heartbeats, fetches or commits (faust-streaming issues 175, 523, 532).

A static member (KIP-345) that another process with the same instance id replaced is told "unknown
member" by the requests that aiokafka speaks, just as if its session had run out. aiokafka would
join again and throw its successor out, for ever in turns. So it asks first, with the heartbeat of
KIP-345, which tells the two apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
)
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import HeartbeatResponse_v1
from aiokafka.protocol.types import Int32, Schema, String

from streams import logs
from streams.errors import BrokerError, TakenOver
from streams.transport.security import denied

_FENCED = 82
"""Kafka's FENCED_INSTANCE_ID, which aiokafka does not know (its issue 1186)."""


class InstanceFenced(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """Another member has our instance id."""


class Member(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's group coordinator; made by `of` out of one that has not joined yet."""

    on_fault: Callable[[KafkaError], None]
    _was: tuple[int, str] | None
    """Generation and member id that were ours last."""

    @classmethod
    def of(cls, coordinator: GroupCoordinator, on_fault: Callable[[KafkaError], None]) -> Member:
        """Turn ``coordinator`` into a member that calls ``on_fault`` when it cannot go on."""
        coordinator.__class__ = cls  # the consumer leaves no choice of class
        coordinator.on_fault = on_fault
        coordinator._was = None
        coordinator._coordination_task.add_done_callback(coordinator._ended)
        member: Member = coordinator
        return member

    def reset_generation(self) -> None:
        """Forget the membership, but not who we were."""
        if self.member_id:
            self._was = self.generation, self.member_id
        super().reset_generation()

    async def ensure_active_group(self, subscription: Any, previous: Any) -> Any:
        """Join, unless another process has our instance id.

        Raises:
            InstanceFenced: one has.
        """
        await self._require_instance()
        return await super().ensure_active_group(subscription, previous)

    def _push_error_to_user(self, error: KafkaError) -> Any:
        self.on_fault(error)
        return super()._push_error_to_user(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), KafkaError):
            self.on_fault(error)

    async def _require_instance(self) -> None:
        was = (self.generation, self.member_id) if self.member_id else self._was
        if self._group_instance_id is None or was is None:
            return
        try:
            answer = await self._send_req(_Heartbeat(self.group_id, *was, self._group_instance_id))
        except KafkaError:
            return  # then nor can we join; both are tried again
        if answer.error_code == _FENCED:
            raise InstanceFenced


class _Heartbeat3(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 12
    API_VERSION: ClassVar[int] = 3
    RESPONSE_TYPE = HeartbeatResponse_v1
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_Heartbeat3]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 12

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[_Heartbeat3]) -> _Heartbeat3:
        return request_struct_class(*self._fields)


def told(error: BaseException) -> BrokerError:
    """What an operator is told of a fault of the group or of fetching."""
    if isinstance(error, InstanceFenced):
        return TakenOver(
            "Another worker has started with the same SOTTOVOCE_INSTANCE and taken over.",
            "Give each worker of a role an instance of its own; a pod's name is one.",
        )
    if (lacking := denied(error, "its consumer group or topics")) is not None:
        return lacking
    if isinstance(error, BrokerResponseError):
        kind = error.message
    else:
        kind = logs.place(error.__cause__ or error)
    return BrokerError(
        f"The consumer stopped: {kind}.",
        "The next worker resumes from the last commit; `sottovoce doctor` checks the broker.",
    )

"""Two requests of Kafka's protocol that aiokafka's admin client lacks: moving leaders.

https://kafka.apache.org/protocol: AlterPartitionReassignments (45) and ElectLeaders (43).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_TIMEOUT_MS = 10_000
_NOT_NEEDED = 84
"""ElectionNotNeeded: the preferred replica leads already."""
_NOT_AVAILABLE = 80
"""PreferredLeaderNotAvailable: it is not in sync yet."""


class _Reassigned(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY: ClassVar[int] = 45
    API_VERSION: ClassVar[int] = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        (
            "responses",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Reassign0(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 45
    API_VERSION: ClassVar[int] = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Reassigned
    SCHEMA = Schema(
        ("timeout_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Elected(Response):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 43
    API_VERSION: ClassVar[int] = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "results",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition_id", Int32),
                        ("error_code", Int16),
                        ("error_message", String("utf-8")),
                    ),
                ),
            ),
        ),
    )


class _Elect1(RequestStruct):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 43
    API_VERSION: ClassVar[int] = 1
    RESPONSE_TYPE = _Elected
    SCHEMA = Schema(
        ("election_type", Int8),
        ("topics", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
        ("timeout_ms", Int32),
    )


class _Reassign(Request[_Reassign0]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 45

    def __init__(self, topic: str, partition: int, replicas: Sequence[int]) -> None:
        self._topics: Any = [(topic, [(partition, list(replicas), {})], {})]

    def build(self, request_struct_class: type[_Reassign0]) -> _Reassign0:
        return request_struct_class(_TIMEOUT_MS, self._topics, {})


class _Elect(Request[_Elect1]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 43

    def __init__(self, topic: str, partition: int) -> None:
        self._topics = [(topic, [partition])]

    def build(self, request_struct_class: type[_Elect1]) -> _Elect1:
        return request_struct_class(0, self._topics, _TIMEOUT_MS)


async def reassign(
    admin: AIOKafkaAdminClient, topic: str, partition: int, replicas: Sequence[int]
) -> None:
    """Give a partition these replicas; the first is its preferred leader."""
    response = await admin._send_to_controller(_Reassign(topic, partition, replicas))
    ((_, ((_, code, *_),), *_),) = response.responses
    if response.error_code or code:
        raise for_code(response.error_code or code)(f"{topic}/{partition}")


async def elect_preferred(admin: AIOKafkaAdminClient, topic: str, partition: int) -> None:
    """Have a partition led by its preferred leader, if that is in sync."""
    response = await admin._send_to_controller(_Elect(topic, partition))
    codes = {code for _, partitions in response.results for _, code, *_ in partitions}
    for code in {response.error_code, *codes} - {0, _NOT_NEEDED, _NOT_AVAILABLE}:
        raise for_code(code)(f"{topic}/{partition}")

"""Runs `deploy/kafka/acls.sh` against a broker, without Kafka's command line tools.

They are in no jar of Maven Central, so what the script asks of ``kafka-acls.sh`` is noted down
and asked of the broker through its protocol. Options that the tool does not have fail.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from streams.settings import Kafka
from streams.transport.admin import admin_client

SCRIPT = Path(__file__).parents[2] / "deploy" / "kafka" / "acls.sh"

# Kafka's ResourceType, PatternType, AclOperation and AclPermissionType.
RESOURCES = {"topic": 2, "group": 3, "transactional_id": 5}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
_ANY, _ALLOW = 1, 3


class Rule(NamedTuple):
    """That a user may do something."""

    principal: str
    operation: str
    resource: str
    name: str
    pattern: str


def asked(folder: Path, script: Path = SCRIPT, **environment: str) -> list[argparse.Namespace]:
    """Each call of ``kafka-acls.sh`` that the script makes."""
    note = folder / "kafka-acls.sh"
    calls = folder / "calls"
    note.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" END >> {shlex.quote(str(calls))}\n')
    note.chmod(0o700)
    known = {"PATH": f"{folder}:{os.environ['PATH']}", "BROKERS": "broker:1", **environment}
    subprocess.run(["bash", str(script)], env=known, check=True, timeout=30)
    words = calls.read_text().removesuffix("END\0").split("END\0")
    return [_options().parse_args(call.split("\0")[:-1]) for call in words]


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--bootstrap-server", required=True)
    options.add_argument("--command-config")
    options.add_argument("--add", action="store_true", required=True)
    options.add_argument("--allow-principal", required=True)
    options.add_argument("--operation", action="append", choices=OPERATIONS, required=True)
    options.add_argument("--resource-pattern-type", choices=PATTERNS, default="literal")
    for resource in RESOURCES:
        options.add_argument(f"--{resource.replace('_', '-')}", action="append", default=[])
    return options


def rules(calls: list[argparse.Namespace]) -> list[Rule]:
    """What the calls ask for, one rule at a time."""
    return [
        Rule(call.allow_principal, operation, resource, name, call.resource_pattern_type)
        for call in calls
        for resource in RESOURCES
        for name in getattr(call, resource)
        for operation in call.operation
    ]


async def grant(kafka: Kafka, wanted: list[Rule]) -> None:
    """Have the broker hold to the rules, in addition to those it has."""
    async with admin_client(kafka) as client:
        response = await client._send_to_controller(_Grants(wanted))
    for code, message in response.creation_responses:
        assert not code, f"{for_code(code).__name__}: {message}"


async def revoke(kafka: Kafka, principal: str) -> None:
    """Have the broker forget all rules of a user."""
    everything = DeleteAclsRequest(_ANY, None, _ANY, principal, None, _ANY, _ANY)
    async with admin_client(kafka) as client:
        response = await client._send_to_controller(everything)
    assert [each[0] for each in response.filter_responses] == [0]


class _Grants(CreateAclsRequest):  # type: ignore[misc]  # aiokafka has no types
    """Many rules in one request."""

    def __init__(self, wanted: list[Rule]) -> None:
        self._wanted = wanted

    def build(self, request_struct_class: Any) -> Any:
        assert request_struct_class.API_VERSION == 1
        return request_struct_class(
            [
                (
                    RESOURCES[rule.resource],
                    rule.name,
                    PATTERNS[rule.pattern],
                    rule.principal,
                    "*",
                    OPERATIONS[rule.operation],
                    _ALLOW,
                )
                for rule in self._wanted
            ]
        )

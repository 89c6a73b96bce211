"""The registries: files, and a small server that speaks the Confluent API."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.avro import registry as module
from streams.avro.registry import METADATA, UNKNOWN_S, HttpRegistry, LocalRegistry
from streams.avro.schemas import load, schema_id
from streams.errors import RegistryError, UnknownSchemaId

FOLDER = Path(__file__).parents[2] / "schemas"
SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}


@dataclass
class Server:
    """What the server holds, and what it was asked."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if request.can_read_body:
            self.bodies.append(await request.json())
        missing = (404, {"error_code": 40403, "message": "Schema not found"})
        status, answer = self.answers.get(request.path, missing)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return web.Response(status=status, text=text)

    def holds(self, number: int, schema: Any = SCHEMA, **more: Any) -> None:
        answer = {"schema": json.dumps(schema), **more}
        self.answers[f"/api/schemas/ids/{number}"] = (200, answer)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    held = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", held.handle)
    async with TestServer(app) as running:
        held.url = str(running.make_url("/api"))
        yield held


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def registry(server: Server, clock: Clock) -> AsyncIterator[HttpRegistry]:
    client = HttpRegistry(server.url, clock)
    yield client
    await client.close()


async def test_files_answer_for_every_schema_in_them() -> None:
    schemas = load(FOLDER)
    local = LocalRegistry(schemas)
    for name, schema in schemas.current.items():
        number = await local.register(name, schema)
        assert number == schema_id(schema)
        assert await local.get(number) == schema
    with pytest.raises(UnknownSchemaId, match="id 1"):
        await local.get(1)
    with pytest.raises(RegistryError, match="topic-value"):
        await local.register("topic-value", SCHEMA)


async def test_a_schema_is_asked_for_once(server: Server, registry: HttpRegistry) -> None:
    server.holds(7)
    assert [await registry.get(7) for _ in range(3)] == [SCHEMA] * 3
    assert [(request.method, request.path) for request in server.asked] == [
        ("GET", "/api/schemas/ids/7")
    ]


async def test_an_unknown_id_is_asked_for_again_after_a_while(
    server: Server, registry: HttpRegistry, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(UnknownSchemaId, match="id 7"):
            await registry.get(7)
    assert len(server.asked) == 1
    server.holds(7)
    clock.now += UNKNOWN_S
    assert await registry.get(7) == SCHEMA


async def test_the_schemas_least_recently_used_are_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN", 2)
    client = HttpRegistry(server.url)
    for number in (1, 2, 3):
        server.holds(number)
    for number in (1, 2, 1, 3, 1, 3, 2):
        await client.get(number)
    await client.close()
    assert [request.path[-1] for request in server.asked] == ["1", "2", "3", "2"]


async def test_registering_posts_the_schema_once(server: Server, registry: HttpRegistry) -> None:
    server.answers["/api/subjects/plays-value/versions"] = (200, {"id": 12})
    assert await registry.register("plays-value", SCHEMA) == 12
    assert await registry.register("plays-value", SCHEMA) == 12
    (request,) = server.asked
    assert request.method == "POST"
    assert request.content_type == "application/vnd.schemaregistry.v1+json"
    assert [json.loads(body["schema"]) for body in server.bodies] == [SCHEMA]


async def test_metadata_comes_with_the_schema(server: Server, registry: HttpRegistry) -> None:
    metadata = {"tags": {"**.a": ["USER_ID"]}}
    server.holds(7, metadata=metadata)
    assert await registry.get(7) == {**SCHEMA, METADATA: metadata}


async def test_a_primitive_becomes_an_object(server: Server, registry: HttpRegistry) -> None:
    server.holds(7, "string")
    assert await registry.get(7) == {"type": "string"}


@pytest.mark.parametrize("more", [{"schemaType": "PROTOBUF"}, {"schema": "[]"}])
async def test_what_is_no_avro_schema_is_unknown(
    server: Server, registry: HttpRegistry, more: dict[str, Any]
) -> None:
    server.holds(7)
    server.answers["/api/schemas/ids/7"][1].update(more)
    with pytest.raises(UnknownSchemaId):
        await registry.get(7)


@pytest.mark.parametrize(
    ("status", "answer", "problem"),
    [
        (500, {"error_code": 50001}, "HTTP 500, code 50001"),
        (500, "", "HTTP 500"),
        (401, "secret page", "HTTP 401.*password in SOTTOVOCE_REGISTRY_URL"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}, "HTTP 404.*path"),
        (404, "<html>", "HTTP 404.*path"),
        (302, "", "HTTP 302"),
        (200, "<html>", "something else"),
        (200, [], "something else"),
        (200, {"schema": "{"}, "something else"),
        (200, {"no": "schema"}, "something else"),
    ],
)
async def test_what_cannot_be_known_now_is_an_error_and_not_remembered(
    server: Server, registry: HttpRegistry, status: int, answer: Any, problem: str
) -> None:
    server.answers["/api/schemas/ids/7"] = (status, answer)
    with pytest.raises(RegistryError, match=problem) as caught:
        await registry.get(7)
    assert not isinstance(caught.value, UnknownSchemaId)
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    server.holds(7)
    assert await registry.get(7) == SCHEMA


@pytest.mark.parametrize(
    ("status", "answer", "problem"),
    [
        (409, {"error_code": 409}, "HTTP 409.*schema check"),
        (422, {"error_code": 42201}, "HTTP 422.*schema check"),
        (404, {"error_code": 40401}, "something else"),
        (200, {}, "something else"),
    ],
)
async def test_a_refusal_to_register_is_an_error(
    server: Server, registry: HttpRegistry, status: int, answer: Any, problem: str
) -> None:
    server.answers["/api/subjects/s/versions"] = (status, answer)
    with pytest.raises(RegistryError, match=problem):
        await registry.register("s", SCHEMA)


async def test_the_password_is_sent_and_never_shown(server: Server) -> None:
    url = server.url.replace("http://", "http://user:p%40ss@")
    client = HttpRegistry(url)
    server.answers["/api/schemas/ids/7"] = (500, "")
    with pytest.raises(RegistryError) as caught:
        await client.get(7)
    await client.close()
    sent = server.asked[0].headers["Authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")) == b"user:p@ss"
    shown = f"{caught.value} {client!r} {vars(caught.value)}"
    assert "p@ss" not in shown
    assert "p%40ss" not in shown
    assert "user" not in shown


async def test_a_registry_that_is_not_there_is_an_error(unused_tcp_port: int) -> None:
    client = HttpRegistry(f"http://user:secret@127.0.0.1:{unused_tcp_port}")
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        await client.get(7)
    assert "secret" not in str(caught.value)
    await client.close()


async def test_a_registry_that_hangs_is_an_error(
    server: Server, registry: HttpRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 1e-9)
    with pytest.raises(RegistryError, match="cannot be reached"):
        await registry.get(7)


async def test_it_can_be_used_after_it_was_closed(server: Server, registry: HttpRegistry) -> None:
    server.holds(7)
    server.holds(8)
    await registry.get(7)
    await registry.close()
    assert await registry.get(8) == SCHEMA


@pytest.mark.parametrize("url", ["registry:8081", "ftp://registry", "http://", "http://[", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RegistryError, match="URL"):
        HttpRegistry(url)

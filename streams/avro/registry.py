"""Schemas by the id that records carry: from the folder, or from a registry server."""

from __future__ import annotations

import base64
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import aiohttp
from yarl import URL

from streams.avro.schemas import Schema, Schemas, schema_id
from streams.errors import RegistryError, SchemaError, UnknownSchemaId

TIMEOUT_S = 10.0
KNOWN = 1_000
"""Schemas kept, the least recently used given up first. An id never changes its meaning."""
LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer that are read. Registries take schemas of up to 1 MB as a rule."""
UNKNOWN = 10_000
UNKNOWN_S = 10.0
"""Ids that the registry does not know, and for how long it is not asked again, seconds."""
METADATA = "confluent:metadata"
"""Attribute that `HttpRegistry` sets on a schema for which the registry keeps metadata, with what
it keeps: ``{"tags": {pattern: [tag, ...]}, ...}``."""

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Registry(Protocol):
    """Schemas by id. Both methods may be called any number of times; answers are remembered."""

    async def get(self, schema_id: int) -> Schema:
        """The schema of that id. The caller must not change it.

        Raises:
            UnknownSchemaId: there is none: the records that carry the id cannot be read.
            SchemaError: there is one, nested too far or too large to be looked at: they cannot be
                read either.
            RegistryError: it cannot be known at the moment: try again later.
        """
        ...

    async def register(self, subject: str, schema: Schema) -> int:
        """Id under which records of ``schema`` are written to the topic that ``subject`` names.

        Raises:
            RegistryError: the registry cannot be reached or does not take the schema.
        """
        ...

    async def close(self) -> None:
        """Give up connections. `get` and `register` open them anew."""
        ...


class LocalRegistry:
    """The schemas in the folder, under the ids that follow from their content."""

    def __init__(self, schemas: Schemas) -> None:
        """Know every schema, at work or released before."""
        self._schemas = schemas.by_id()

    async def get(self, schema_id: int) -> Schema:
        """See `Registry.get`."""
        if schema_id not in self._schemas:
            raise UnknownSchemaId(
                f"No schema in the folder has the id {schema_id}.",
                "Add it under released/, or set SOTTOVOCE_REGISTRY_URL if a registry gave the id.",
            )
        return self._schemas[schema_id]

    async def register(self, subject: str, schema: Schema) -> int:
        """See `Registry.register`. No reader would know a schema that no file holds: refused."""
        number = schema_id(schema)
        if number not in self._schemas:
            raise RegistryError(
                f"The schema of {subject} is not in the folder.", "Add it as a file."
            )
        return number

    async def close(self) -> None:
        """Nothing is open."""


class HttpRegistry:
    """A registry that speaks Confluent's API: Confluent's own, Apicurio, Karapace and others.

    Used from one event loop at a time. User and password in the URL are sent as basic
    authentication and shown nowhere.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember the address; nothing is asked yet.

        Raises:
            RegistryError: the URL is not one of http or https.
        """
        try:
            parsed = URL(url)
        except ValueError:
            parsed = URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise RegistryError(
                "The registry's URL is not one of http or https.", "Correct SOTTOVOCE_REGISTRY_URL."
            )
        self._headers = {"Accept": f"{_MEDIA_TYPE}, application/json"}
        if parsed.user is not None:
            secret = base64.b64encode(f"{parsed.user}:{parsed.password or ''}".encode())
            self._headers["Authorization"] = f"Basic {secret.decode()}"
        self._url = parsed.with_user(None).with_query(None).with_fragment(None)
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._known: _Recent[int, Schema] = _Recent(KNOWN)
        self._unknown: _Recent[int, float] = _Recent(UNKNOWN)
        self._ids: _Recent[tuple[str, str], int] = _Recent(KNOWN)

    async def get(self, schema_id: int) -> Schema:
        """See `Registry.get`."""
        known = self._known.get(schema_id)
        if known is not None:
            return known
        asked = self._unknown.get(schema_id)
        if asked is None or self._clock() - asked >= UNKNOWN_S:
            answer = await self._ask("GET", "schemas", "ids", str(schema_id))
            schema = None if answer is None else self._schema(answer)
            if schema is not None:
                self._known.put(schema_id, schema)
                return schema
            self._unknown.put(schema_id, self._clock())
        raise UnknownSchemaId(
            f"The registry has no Avro schema with the id {schema_id}.",
            "Register it, or correct the producer that writes this id.",
        )

    async def register(self, subject: str, schema: Schema) -> int:
        """See `Registry.register`."""
        text = json.dumps(schema)
        known = self._ids.get((subject, text))
        if known is not None:
            return known
        answer = await self._ask("POST", "subjects", subject, "versions", schema=text)
        number = (answer or {}).get("id")
        if not isinstance(number, int):
            raise self._strange()
        self._ids.put((subject, text), number)
        return number

    async def close(self) -> None:
        """See `Registry.close`."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, method: str, *path: str, **body: str) -> dict[str, Any] | None:
        """What the registry answers, None where it says that there is no such thing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            )
        try:
            async with self._session.request(
                method,
                self._url.joinpath(*path),
                data=json.dumps(body) if body else None,
                headers={"Content-Type": _MEDIA_TYPE} if body else None,
                allow_redirects=False,  # to another host it would take the password along
            ) as response:
                status, content = response.status, await _limited(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryError(
                f"The registry at {self._place} cannot be reached: {type(error).__name__}.",
                "Start it, or correct SOTTOVOCE_REGISTRY_URL.",
            ) from None
        if content is None:
            raise SchemaError(
                f"The registry's answer is larger than {LARGEST_ANSWER} bytes.",
                "Register a smaller schema.",
            )
        return self._answer(status, content)

    def _answer(self, status: int, content: bytes) -> dict[str, Any] | None:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        code = answer.get("error_code") if isinstance(answer, dict) else None
        if status == 404 and isinstance(code, int) and code // 100 == 404:
            return None
        if status != 200:
            remedy = _REMEDIES.get(status, "See the registry's log.")
            raise RegistryError(
                f"The registry at {self._place} refuses: HTTP {status}, code {code}.", remedy
            )
        if not isinstance(answer, dict):
            raise self._strange()
        return answer

    def _schema(self, answer: dict[str, Any]) -> Schema | None:
        """The schema in an answer, None where it is of another kind than Avro."""
        if answer.get("schemaType", "AVRO") != "AVRO":
            return None
        text = answer.get("schema")
        if not isinstance(text, str):
            raise self._strange()
        try:
            schema = json.loads(text)
        except RecursionError:
            raise SchemaError(
                "The registry's schema is nested too far.", "Register a simpler one."
            ) from None
        except ValueError:
            raise self._strange() from None
        if isinstance(schema, str):
            schema = {"type": schema}
        if not isinstance(schema, dict):
            return None
        return {**schema, METADATA: answer["metadata"]} if answer.get("metadata") else schema

    def _strange(self) -> RegistryError:
        return RegistryError(
            f"The registry at {self._place} answers something else than its API says.",
            "Correct SOTTOVOCE_REGISTRY_URL: the path of the Confluent API may be missing.",
        )

    @property
    def _place(self) -> str:
        return f"{self._url.host}:{self._url.port}"


_REMEDIES = {
    401: "Put user and password in SOTTOVOCE_REGISTRY_URL.",
    403: "Give the user in SOTTOVOCE_REGISTRY_URL access.",
    404: "Correct SOTTOVOCE_REGISTRY_URL: the path of the Confluent API may be missing.",
    409: "The schema does not fit earlier versions: run `sottovoce schema check`.",
    422: "The registry takes the schema for invalid: run `sottovoce schema check`.",
}


async def _limited(content: aiohttp.StreamReader) -> bytes | None:
    """All of it, None if it is too large."""
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) > LARGEST_ANSWER:
            return None
    return bytes(read)


class _Recent(Generic[K, V]):
    """The entries last used, as many as ``size``."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

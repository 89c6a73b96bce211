"""Apicurio Registry itself, a schema registry with Confluent's API, fetched with Maven.

The version is pinned in ``deploy/registry/pom.xml``. The first start unpacks it into a cache.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import aiohttp

from streams.brokers import maven
from streams.brokers.process import HOST, Broker, someone_listens
from streams.errors import BrokerError

POM = Path(__file__).parents[2] / "deploy" / "registry" / "pom.xml"
LEAST_JAVA = 21
_INSTALLED = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1")
_API = "apis/ccompat/v7"
_VERSION = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)


class ApicurioRegistry(Broker):
    """One registry that keeps its schemas in a file, on loopback only. Kafka is not needed.

    Raises:
        BrokerError: at start, when Java is missing or too old, or Maven is or cannot fetch it.
    """

    name: ClassVar[str] = "Apicurio Registry"
    start_s: ClassVar[float] = 180.0

    def __init__(self, cache: Path) -> None:
        """``cache`` is the folder that holds, or will hold, one folder per version."""
        super().__init__()
        self._cache = cache

    @property
    def url(self) -> str:
        """What SOTTOVOCE_REGISTRY_URL is set to; the same for the life of this object."""
        return f"http://{self.address}/{_API}"

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would. `restart` starts it again with what it kept."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _command(self, folder: Path) -> list[str]:
        # H2 writes half a second late if it is let; what was registered must survive `kill`.
        schemas = f"jdbc:h2:file:{folder}/schemas;WRITE_DELAY=0"
        options = {
            "quarkus.http.host": HOST,
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": HOST,
            "quarkus.management.port": "0",
            "apicurio.datasource.url": schemas,
            "apicurio.datasource.jdbc.initial-size": "2",
            "apicurio.datasource.jdbc.min-size": "2",
            "java.io.tmpdir": str(folder),
        }
        program = fetch(self._cache) / "quarkus-run.jar"
        given = [f"-D{name}={value}" for name, value in options.items()]
        return [java(), *_JVM, *given, "-jar", str(program)]

    async def _ready(self) -> bool:
        if not someone_listens(self.port):
            return False
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/subjects") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


def fetch(cache: Path) -> Path:
    """The folder of the registry under ``cache``, fetched with Maven if it is not there. Blocks.

    Raises:
        BrokerError: Maven is missing or fails.
    """
    goal = "dependency:unpack-dependencies"
    return maven.fetch(cache, POM, "registry", "Apicurio Registry", goal)


def java() -> str:
    """A Java that is new enough: the one on the PATH, or one installed beside it.

    Raises:
        BrokerError: there is none.
    """
    for candidate in _javas():
        if (_version(candidate) or 0) >= LEAST_JAVA:
            return str(candidate)
    raise BrokerError(
        f"Apicurio Registry needs Java {LEAST_JAVA} or newer, and there is none.",
        f"Install it under {_INSTALLED[0]}, or put it on the PATH.",
    )


def _javas() -> Iterator[Path]:
    on_path = shutil.which("java")
    if on_path is not None:
        yield Path(on_path)
    for folder in _INSTALLED:
        for pattern in ("*/bin/java", "*/Contents/Home/bin/java"):
            yield from sorted(folder.glob(pattern))


def _version(java: Path) -> int | None:
    """Its main version, by the file that every JDK and JRE has."""
    try:
        release = (java.resolve().parents[1] / "release").read_text()
    except OSError:
        return None
    found = _VERSION.search(release)
    return int(found[1]) if found else None

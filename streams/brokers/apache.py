"""Apache Kafka itself, one node in KRaft mode, fetched with Maven: what CI tests against.

The version is pinned in ``deploy/kafka/pom.xml``. The first start copies its jars into a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from streams.brokers import maven
from streams.brokers.process import HOST, Broker, free_port
from streams.settings import bundled

_CLUSTER_ID = "c290dG8tdm9jZS1sb2NhbA"  # 16 bytes in base64; any will do
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData")
_FORMAT_S = 60.0


class ApacheBroker(Broker):
    """One node of Apache Kafka, broker and controller, with replication 1 and no topic by surprise.

    ``properties`` is the whole of its ``server.properties``: our defaults with those given to the
    constructor laid over them. What is changed there before `start` (a TLS listener, say) holds, as
    long as `address` answers without TLS or a login. ``format_options`` go to the tool that lays
    out its folder: ``--add-scram`` makes users.

    Raises:
        BrokerError: at start, when Java or Maven is missing or Maven cannot fetch Kafka.
    """

    name: ClassVar[str] = "Apache Kafka"
    start_s: ClassVar[float] = 90.0

    def __init__(self, cache: Path, properties: Mapping[str, str] | None = None) -> None:
        """``cache`` is the folder that holds, or will hold, one folder of jars per version."""
        super().__init__()
        self.controller_port = free_port()
        self.properties = _defaults(self.port, self.controller_port) | dict(properties or {})
        self.format_options: tuple[str, ...] = ()
        self._cache = cache

    def _command(self, folder: Path) -> list[str]:
        java = maven.tool("java", "Java 17 or newer", "Apache Kafka")
        jars = fetch(self._cache)
        log_config = bundled("deploy") / "kafka" / "log4j2.properties"
        run = [java, *_JVM, f"-Dlog4j2.configurationFile={log_config}", "-cp", f"{jars}/*"]
        config = folder / "server.properties"
        if not config.exists():
            self._format(run, config)
        return [*run, "kafka.Kafka", str(config)]

    def _format(self, run: list[str], config: Path) -> None:
        """Write ``config`` and lay out the data folder it names, which KRaft wants done first."""
        properties = self.properties | {"log.dirs": str(config.parent / "data")}
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        tool = ("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(config))
        maven.run(
            [*run, *tool, *self.format_options],
            _FORMAT_S,
            "Apache Kafka cannot lay out its folder.",
        )


def _defaults(port: int, controller_port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.dedupe.buffer.size": "16777216",  # its default takes a quarter of our heap
    }


def pinned_version(pom: Path) -> str:
    """The Kafka version that ``pom`` pins."""
    return maven.pinned_version(pom, "kafka")


def fetch(cache: Path) -> Path:
    """The folder of Kafka's jars under ``cache``, fetched with Maven if it is not there. Blocks.

    Raises:
        BrokerError: Maven is missing or fails.
    """
    pom = bundled("deploy") / "kafka" / "pom.xml"
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime")
    return maven.fetch(cache, pom, "kafka", "Apache Kafka", *goal)

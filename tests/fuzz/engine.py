"""One run of the fuzzer in a process of its own: guided by coverage where Atheris is installed.

``python -m tests.fuzz.engine FOLDER SECONDS SEED``. Ends with code 0 when nothing was found; else
the input that did it is in FOLDER/finds. Atheris is looked for in FOLDER/atheris, too.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

_LONGEST = 8_192
_HANG_S = 60
_MEMORY_MB = 2_000


def main(folder: Path, seconds: float, seed: int) -> None:
    """Fuzz; does not return when guided."""
    for name in ("corpus", "finds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sys.path.append(str(folder / "atheris"))
    with tempfile.TemporaryDirectory() as keys:
        if importlib.util.find_spec("atheris") is None:
            _unguided(folder, Path(keys), seconds, seed)
        else:
            _guided(folder, Path(keys), seconds, seed)


def _guided(folder: Path, keys: Path, seconds: float, seed: int) -> None:
    atheris: Any = importlib.import_module("atheris")
    watched = ["streams.avro", "streams.privacy", "fastavro._read_py", "tests.fuzz.target"]
    with atheris.instrument_imports(include=watched):
        from tests.fuzz.target import Target
    target = Target(keys)
    for number, sound in enumerate(target.seeds()):
        (folder / "corpus" / f"seed-{number}").write_bytes(sound)
    options = {
        "max_total_time": max(1, round(seconds)),
        "seed": seed,
        "max_len": _LONGEST,
        "timeout": _HANG_S,
        "rss_limit_mb": _MEMORY_MB,
        "print_final_stats": 1,
        "artifact_prefix": f"{folder}/finds/",
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(folder / "corpus")], target.one)
    atheris.Fuzz()


def _unguided(folder: Path, keys: Path, seconds: float, seed: int) -> None:
    from tests.fuzz.target import Target

    target, rng = Target(keys), random.Random(seed)
    seeds, tried, until = list(target.seeds()), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutated(rng, rng.choice(seeds))
        try:
            target.one(data)
        except BaseException:
            (folder / "finds" / f"crash-{seed}-{tried}").write_bytes(data)
            traceback.print_exc()
            raise SystemExit(1) from None
        tried += 1
    print(f"stat::number_of_executed_units: {tried}")


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The input with a few bytes changed, put in, taken out or repeated."""
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 10))
        extreme = rng.choice((b"\xff" * 9 + b"\x01", b"\x80" * 9 + b"\x01", b"\x01", b"\x00"))
        data = rng.choice(
            (
                data[:at] + rng.randbytes(size) + data[at + size :],
                data[:at] + rng.randbytes(size) + data[at:],
                data[:at] + data[at + size :],
                data[:at] + extreme + data[at + 1 :],
                data[:at] + data[max(0, at - 40) : at] + data[at:],
            )
        )
    return data[:_LONGEST]


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), float(sys.argv[2]), int(sys.argv[3]))

"""Fuzz the way of a batch from its bytes to listens; what must hold is in `target`.

``python -m tests.fuzz.decoder --minutes N --seed S``, or ``make fuzz``. Runs the engine again and
again until the time is over, watches its memory and sums up in var/fuzz/result.json. A find ends a
run of the engine, not the program; its input is kept in var/fuzz/finds and
``--input FILE`` tries it once more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz.leaks import resident_mb

ROOT = Path(__file__).parents[2]
SUSPICION_MB = 80.0
"""Growth of memory between the first third and the end of a run after which leaks are looked for,
if the run is long enough for what is allocated once to be allocated by then."""
LEAK_MB = 20.0
"""Growth over the same inputs that counts as one."""
_LEAK_S = 300.0
_ROUND_S = 1_800.0
_SAMPLE_S = 5.0
_ENVIRONMENT = {**os.environ, "POLARS_MAX_THREADS": "1"}
_UNITS = re.compile(r"stat::number_of_executed_units: +(\d+)")


@dataclass
class Result:
    """What fuzzing came to."""

    seed: int
    minutes: float = 0.0
    inputs: int = 0
    finds: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    """Of each run of the engine: after a third of it, and at its end."""


def fuzz(folder: Path, minutes: float, seed: int) -> Result:
    """Fuzz for so long. Blocks."""
    result = Result(seed)
    started = time.monotonic()
    deadline = started + minutes * 60
    while (left := deadline - time.monotonic()) > 1:
        _round(folder, min(left, _ROUND_S), seed, result)
        seed += 1
        result.minutes = (time.monotonic() - started) / 60
        (folder / "result.json").write_text(json.dumps(asdict(result), indent=1))
    return result


def _round(folder: Path, seconds: float, seed: int, result: Result) -> None:
    known = _kept(folder)
    log = folder / "engine.log"
    command = [sys.executable, "-m", "tests.fuzz.engine", str(folder), str(seconds), str(seed)]
    samples: list[float] = []
    with log.open("w") as said:
        engine = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            while engine.poll() is None:
                samples.append(resident_mb(engine.pid))
                time.sleep(min(_SAMPLE_S, seconds / 20))
        finally:
            engine.kill()
            engine.wait()
    text = log.read_text(errors="replace")
    counted = _UNITS.search(text)
    result.inputs += int(counted[1]) if counted else 0
    early, late = samples[len(samples) // 3], max(samples[-4:])
    result.memory_mb += [round(early), round(late)]
    if engine.returncode:
        new = sorted(_kept(folder) - known)
        result.finds.append(f"code {engine.returncode}: {', '.join(new)} {_last_error(text)}")
    elif seconds >= _LEAK_S and late - early > SUSPICION_MB:
        leaked = leaked_mb(folder)
        if leaked > LEAK_MB:
            result.finds.append(f"memory grew by {leaked:.0f} MB over the same inputs")


def _kept(folder: Path) -> set[str]:
    finds = folder / "finds"
    return {each.name for each in finds.iterdir()} if finds.is_dir() else set()


def leaked_mb(folder: Path) -> float:
    """By how much memory grows over the inputs kept in ``folder``, again and again. Blocks."""
    command = [sys.executable, "-m", "tests.fuzz.leaks", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=_ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def _last_error(text: str) -> str:
    found = [line for line in text.splitlines() if re.match(r"\S+(Error|Exception|Found)\b", line)]
    return found[-1] if found else ""


def main() -> int:
    """Exit code 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "fuzz")
    parser.add_argument("--input", type=Path, help="try this one input, again")
    given = parser.parse_args()
    if given.input:
        from tests.fuzz.target import Target

        with tempfile.TemporaryDirectory() as keys:
            Target(Path(keys)).one(given.input.read_bytes())
        return 0
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Fuzzing for {given.minutes:g} minutes, seed {given.seed}, in {folder}.", flush=True)
    result = fuzz(folder, given.minutes, given.seed)
    print(f"{result.inputs} inputs in {result.minutes:.1f} minutes, {len(result.finds)} finds.")
    print(*result.finds, sep="\n")
    return bool(result.finds)


if __name__ == "__main__":
    sys.exit(main())

"""Whether memory grows for the same inputs over and over: ``python -m tests.fuzz.leaks FOLDER``.

A fuzzer's own memory grows with what it has learned, so that of a run does not tell. This takes
what the run has kept and prints by how many MB memory grew from the second pass to the last.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

PASSES = 8
INPUTS = 300
"""Of those kept: that many at even distances."""


def main(folder: Path) -> None:
    """Go over the inputs and print the growth."""
    from tests.fuzz.target import Found, Target

    kept = sorted((folder / "corpus").iterdir())
    inputs = [each.read_bytes() for each in kept[:: max(1, len(kept) // INPUTS)]]
    after = []
    with tempfile.TemporaryDirectory() as keys:
        target = Target(Path(keys))
        for _ in range(PASSES):
            for data in inputs:
                with suppress(Found):  # too slow on a busy machine, say: not what is asked here
                    target.one(data)
            after.append(resident_mb(os.getpid()))
    print(after[-1] - after[1])


def resident_mb(process_id: int) -> float:
    """Memory of a process; 0 of one that has ended."""
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))

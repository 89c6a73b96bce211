"""A report worker whose disk hangs while a file exists: ``python -m tests.load.slow <file> ...``.

Everything else is the worker itself, with the arguments that ``sottovoce`` takes. A disk that hangs
stops a write in the middle and lets it finish later, so the write waits here before it begins.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from streams.cli.main import main
from streams.warehouse.store import Warehouse

_LOOK_S = 0.05


def hang(while_there: Path) -> None:
    """Have every append wait until the file is gone."""
    append = Warehouse.append

    def slow(*args: Any, **kwargs: Any) -> None:
        while while_there.exists():
            time.sleep(_LOOK_S)
        append(*args, **kwargs)

    Warehouse.append = slow  # type: ignore[method-assign]


if __name__ == "__main__":
    hang(Path(sys.argv.pop(1)))
    main()

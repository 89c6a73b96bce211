"""``streams``, with notes of what the process opens, binds, starts, loads and unpickles.

``python -m tests.access.watched NOTES ...`` does as ``streams ...`` does and writes the notes as
JSON when it ends. Others may look at its open files meanwhile, which a worker prevents.
"""

from __future__ import annotations

import atexit
import json
import sys
from pathlib import Path
from typing import Any

EVENTS = {
    "open": "opened",
    "socket.bind": "bound",
    "subprocess.Popen": "started",
    "os.system": "started",
    "os.exec": "started",
    "os.posix_spawn": "started",
    "pickle.find_class": "unpickled",
}


def watch(notes: Path) -> None:
    found: dict[str, set[str]] = {kind: set() for kind in EVENTS.values()}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        kind = EVENTS.get(event)
        if kind is not None:
            what = arguments[1] if event == "socket.bind" else arguments[0]
            found[kind].add(str(what))

    def write() -> None:
        modules = {"modules": sorted(sys.modules)}
        notes.write_text(json.dumps({k: sorted(v) for k, v in found.items()} | modules))

    sys.addaudithook(hook)
    atexit.register(write)


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    from streams.cli import serve

    serve._no_core_dumps = lambda: None
    from streams.cli.main import main

    main()

"""Runs a broker for another process and stops it with that process, however that one ends.

Started as ``python guard.py FOLDER COMMAND...``. It watches its standard input, a pipe whose other
end the parent holds and the kernel closes when the parent dies: that works on every platform, from
any thread, and after SIGKILL. FOLDER goes with the broker, because the plays in a broker's files
must not outlive the run they belong to; a parent that wants it kept, for a restart, writes a byte
before it closes the pipe.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading

STOP_S = 15.0
"""Time the broker has to stop by itself before it is killed, seconds."""
KEEP_FOLDER = b"k"
"""What the parent writes to have FOLDER kept."""


def run(folder: str, command: list[str]) -> int:
    """Run ``command`` until it ends or the parent does, and return its exit code."""
    broker = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - from our own parent
    signal.signal(signal.SIGTERM, lambda *_: broker.terminate())
    over = threading.Event()

    def stop_with_parent() -> None:
        if os.read(sys.stdin.fileno(), 1) != KEEP_FOLDER:
            over.set()
        broker.terminate()
        try:
            broker.wait(STOP_S)
        except subprocess.TimeoutExpired:
            broker.kill()

    threading.Thread(target=stop_with_parent, daemon=True).start()
    code = broker.wait()
    if over.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))

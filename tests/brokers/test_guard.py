"""The guard: it ends its broker with its parent, and decides what becomes of the folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams.brokers import guard

LIMIT_S = 20
FOREVER = "import signal; print('running', flush=True); signal.pause()"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "segment").write_bytes(b"plays")
    return folder


def guarded(folder: Path, program: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", guard.__file__, str(folder)]
    return subprocess.Popen(
        [*command, sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def said(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def test_a_closed_pipe_ends_the_broker_and_removes_its_folder(folder: Path) -> None:
    process = guarded(folder, FOREVER)
    assert said(process) == "running"
    out, _ = process.communicate(timeout=LIMIT_S)  # its end of file: no broker holds the pipe
    assert out == b""
    assert not folder.exists()


def test_a_parent_that_asks_for_it_finds_the_folder_again(folder: Path) -> None:
    process = guarded(folder, FOREVER)
    assert said(process) == "running"
    process.communicate(guard.KEEP_FOLDER, timeout=LIMIT_S)
    assert (folder / "segment").read_bytes() == b"plays"


def test_the_broker_may_finish_what_it_is_doing(folder: Path, tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    program = (
        "import pathlib, signal, sys\n"
        "def finish(*_):\n"
        f"    pathlib.Path({str(finished)!r}).touch()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, finish)\n" + FOREVER
    )
    process = guarded(folder, program)
    assert said(process) == "running"
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert finished.exists()


def test_a_broker_that_ends_by_itself_is_told_by_its_code(folder: Path) -> None:
    process = guarded(folder, "import sys; sys.exit(3)")
    assert process.wait(LIMIT_S) == 3
    process.communicate()
    assert folder.exists()


def test_a_terminated_guard_takes_its_broker_along(folder: Path) -> None:
    process = guarded(folder, FOREVER)
    assert said(process) == "running"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(guard.KEEP_FOLDER, timeout=LIMIT_S)
    assert out == b""

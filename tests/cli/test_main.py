"""The command from outside: exit codes, messages, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import run, start


def descendants(pid: int) -> Iterator[int]:
    """Processes below ``pid``, and their groups' leaders."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    for child, parent in pairs:
        if parent == pid:
            yield child
            yield from descendants(child)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_wrong_usage_is_two(tmp_path: Path) -> None:
    for arguments in (["demo", "--plays", "x"], ["no-such-command"], ["worker", "cook"]):
        code, _, err = run(*arguments, cwd=tmp_path)
        assert code == 2, arguments
        assert "Traceback" not in err


def test_a_failure_is_one_with_a_remedy_and_no_trace(tmp_path: Path) -> None:
    for arguments, named in (
        (["worker", "gate"], "sottovoce keys init"),
        (["topics", "list", "--brokers", "127.0.0.1:1"], "SOTTOVOCE_BROKERS"),
        (["release"], "SOTTOVOCE_DATA"),
        (["replay", "nowhere.json"], "nowhere.json"),
    ):
        code, out, err = run(*arguments, cwd=tmp_path)
        assert code == 1, arguments
        assert named in err, arguments
        assert "Traceback" not in err
        assert out == ""


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    assert run("keys", "init", "key.hex", cwd=tmp_path)[0] == 0
    assert (tmp_path / "key.hex").stat().st_mode & 0o777 == 0o600
    code, _, err = run("keys", "init", "key.hex", cwd=tmp_path)
    assert code == 1
    assert (tmp_path / "key.hex").read_text().strip() not in err


@pytest.mark.slow
@pytest.mark.usefixtures("_embedded_is_here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("after_s", [0.5, 6.0])
def test_a_demo_that_is_stopped_leaves_no_process(
    tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    process = start("demo", "--plays", "1000000", cwd=tmp_path)
    deadline = time.monotonic() + after_s
    seen: set[int] = set()
    while time.monotonic() < deadline:
        seen |= set(descendants(process.pid))
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=30)
    # While Python still loads, Ctrl-C ends it the way any program ends by it.
    ended = {130, -number} if number is signal.SIGINT else {-number}
    assert process.returncode in ended
    deadline = time.monotonic() + 30
    while any(map(alive, seen)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in seen if alive(pid)]

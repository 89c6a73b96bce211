"""The Makefile: its help, what it hands on, whom it refuses, and how Ctrl-C arrives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = ROOT / "Makefile"
LIMIT_S = 20


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A folder that the Makefile takes for an installed environment."""
    if shutil.which("make") is None:
        pytest.fail("make is not here")
    (tmp_path / "bin").mkdir()
    for name in ("pyvenv.cfg", "runtime.stamp"):
        (tmp_path / name).touch()
    return tmp_path


def sottovoce(environment: Path, script: str) -> None:
    command = environment / "bin" / "sottovoce"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_target() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE.read_text(), re.MULTILINE)[0].split()
    shown = [line.split()[0] for line in make().stdout.splitlines()]
    assert sorted(shown) == sorted(phony)


def test_a_history_is_handed_on_whole(ready: Path) -> None:
    sottovoce(ready, 'for word; do echo "<$word>"; done')
    assert make("demo", f"VENV={ready}").stdout.split("\n")[:-1] == ["<demo>"]
    done = make("demo", f"VENV={ready}", "HISTORY=my data/export 1.zip")
    assert done.stdout.split("\n")[:-1] == ["<demo>", "<--history>", "<my data/export 1.zip>"]


def test_a_failing_demo_fails_make(ready: Path) -> None:
    sottovoce(ready, "exit 1")
    assert make("demo", f"VENV={ready}").returncode == 2


def test_ctrl_c_reaches_the_demo_once_and_is_waited_for(ready: Path) -> None:
    sottovoce(
        ready,
        "trap 'echo interrupted; trap \"\" INT; read _; echo cleaned up; exit 130' INT\n"
        "echo running\nread _\nexit 9",
    )
    process = subprocess.Popen(
        ["make", "--no-print-directory", "demo", f"VENV={ready}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    assert process.stdout.readline() == "interrupted\n"
    out, _ = process.communicate("go on\n", timeout=LIMIT_S)
    assert out == "cleaned up\n"
    assert process.returncode != 0


def test_an_old_python_is_refused_in_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make("demo", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_failed_environment_is_not_left_behind(tmp_path: Path) -> None:
    half = tmp_path / "python3"
    half.write_text(
        '#!/bin/sh\n[ "$1" = -c ] && exit 0\nmkdir -p "$3" && : > "$3/pyvenv.cfg"; exit 1\n'
    )
    half.chmod(0o755)
    done = make("demo", f"VENV={tmp_path / 'venv'}", f"PYTHON={half}")
    assert done.returncode == 2
    assert not (tmp_path / "venv").exists()

"""Runs the command as a user would: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*arguments: str, cwd: Path, **settings: str) -> subprocess.Popen[str]:
    """Start ``sottovoce``; ``settings`` are environment variables."""
    return subprocess.Popen(
        [sys.executable, "-m", "streams", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
    )


def run(*arguments: str, cwd: Path, **settings: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``sottovoce``."""
    process = start(*arguments, cwd=cwd, **settings)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err

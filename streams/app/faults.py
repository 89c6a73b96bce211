"""Why workers stopped: a line of JSON each in ``faults.jsonl``, which `sottovoce doctor` reads."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.errors import SottoVoceError
from streams.logs import place
from streams.settings import Settings

LARGEST = 256 * 1024
"""Bytes of the file at which it becomes ``faults.jsonl.1`` and begins anew."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a worker of ``role`` stopped, Unix seconds ``at``, and what to do."""

    at: float
    role: str
    reason: str
    remedy: str


def note(settings: Settings, role: str, fault: BaseException | str) -> None:
    """Add a line. Never raises: a disk that takes none does not keep a worker from stopping.

    Of an exception that is not ours only type and place are noted: its message may quote a value.
    """
    try:
        if isinstance(fault, SottoVoceError):
            reason, remedy = fault.problem, fault.remedy
        else:
            reason, remedy = (fault if isinstance(fault, str) else place(fault)), ""
        line = json.dumps(asdict(Fault(time.time(), role, reason, remedy))) + "\n"
        file = _file(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.stat().st_size > LARGEST:
            os.replace(file, _older(file))
        with file.open("a", encoding="utf-8") as opened:
            opened.write(line)  # one write of a short line: workers do not mix theirs
    except Exception:  # noqa: S110 - the reason is in the log, too
        pass


def recent(settings: Settings, since: float) -> list[Fault]:
    """What was noted at ``since``, Unix seconds, or later, oldest first; lines cut short left out.

    Raises:
        OSError: the file is there and cannot be read.
    """
    found = []
    file = _file(settings)
    for each in (_older(file), file):
        if each.exists():
            for line in each.read_text("utf-8", "replace").splitlines():
                try:
                    fault = Fault(**json.loads(line))
                except (ValueError, TypeError):
                    continue  # a process died in it, or a disk was full
                if fault.at >= since:
                    found.append(fault)
    return found


def _file(settings: Settings) -> Path:
    return settings.data / "faults" / "faults.jsonl"


def _older(file: Path) -> Path:
    return file.with_name(f"{file.name}.1")

"""The real play counts of Last.fm 2K, expanded to timestamped plays with a known answer."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Expanded:
    """Files that ``expand_lastfm2k.py`` wrote."""

    folder: Path

    @property
    def plays(self) -> Path:
        return self.folder / "plays.tsv"

    @property
    def catalogue(self) -> Path:
        return self.folder / "catalogue.csv"

    def expected(self) -> Counter[tuple[str, str]]:
        """Plays by user and artist."""
        with (self.folder / "expected.csv").open(encoding="utf-8", newline="") as lines:
            return Counter(
                {(row["userid"], row["artist"]): int(row["plays"]) for row in csv.DictReader(lines)}
            )

    def listens(self) -> Iterator[dict[str, Any]]:
        """What the gate must make of the plays, by a route of its own; ``user`` is not hidden."""
        with self.catalogue.open(encoding="utf-8", newline="") as lines:
            genres = {
                row["artist"].strip().lower(): [each for each in row["genres"].split(";") if each]
                for row in csv.DictReader(lines)
            }
        with self.plays.open(encoding="utf-8") as lines:
            for line in lines:
                user, stamp, _, artist, _, _ = line.rstrip("\n").split("\t")
                moment = int(datetime.fromisoformat(stamp).timestamp())
                yield {
                    "listener": user,
                    "epoch": 1,
                    "started_at": moment // 60 * 60_000,
                    "ms_played": None,
                    "completion": None,
                    "counted": True,
                    "skipped": False,
                    "artist": artist,
                    "genres": genres.get(artist.strip().lower(), []),
                }


def expand(shared_data: Path, folder: Path, plays: int) -> Expanded:
    """Run the tool."""
    tool = shared_data.parent / "tools" / "expand_lastfm2k.py"
    command = [sys.executable, str(tool), str(folder), "--plays", str(plays)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Expanded(folder)

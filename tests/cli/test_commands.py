"""A day with the command line: topics, plays, workers, profiles, a release and a report."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import duckdb
import pytest

from streams.brokers.embedded import EmbeddedBroker
from tests.cli.command import run, start

PLAYS = 3_000
LIMIT_S = 90.0


@pytest.mark.slow
def test_from_topics_to_a_report(fresh_broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = {
        "SOTTOVOCE_BROKERS": fresh_broker.address,
        "SOTTOVOCE_IDEMPOTENCE": "false",
        "SOTTOVOCE_SESSION_TIMEOUT_S": "6",
        "SOTTOVOCE_CHECKPOINT_S": "0.5",
        "SOTTOVOCE_MIN_LISTENERS": "5",
    }

    def sottovoce(*arguments: str) -> str:
        code, out, err = run(*arguments, cwd=tmp_path, **settings)
        assert code == 0, err
        return out

    assert "created  listens" in sottovoce("topics", "create")
    assert "exists   listens" in sottovoce("topics", "create")
    assert "pseudonymous" in sottovoce("topics", "list")
    sottovoce("keys", "init", "key.hex")
    settings["SOTTOVOCE_KEY_FILE"] = "key.hex"
    assert f"{PLAYS} plays sent" in sottovoce(
        "simulate", "--plays", str(PLAYS), "--listeners", "40", "--days", "7"
    )
    workers = start("worker", "all", cwd=tmp_path, **settings)
    try:
        deadline = time.monotonic() + LIMIT_S
        while len(profiles := sottovoce("profile", "--json").splitlines()) < 40:
            assert workers.poll() is None
            assert time.monotonic() < deadline
        first = json.loads(profiles[0])
        shown = sottovoce("profile", first["listener"])
        assert first["listener"] in shown
        assert first["terms"][0]["artists"][0]["name"] in shown
        assert "daily_activity" in sottovoce("release")
        assert sottovoce("report").strip() == "var/report.html"
        assert "<svg" in (tmp_path / "var" / "report.html").read_text("utf-8")
        with duckdb.connect(str(tmp_path / "var" / "reporting.duckdb"), read_only=True) as marts:
            assert marts.execute("SELECT count(*) FROM daily_activity").fetchone() != (0,)
        assert "ok" in sottovoce("doctor")
    finally:
        workers.send_signal(signal.SIGTERM)
        workers.communicate(timeout=20)
    assert workers.returncode == 0
    assert "daily_activity" in sottovoce("release")  # with the warehouse at rest

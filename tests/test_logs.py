"""Log lines never carry what a library quotes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from streams import logs
from streams.errors import StateError
from streams.settings import load


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_foreign_exception_shows_type_and_place_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(load(), role="gate")
    try:
        int("a secret title")
    except ValueError:
        logging.getLogger("polars").exception("failed")
        logs.get("streams.test").exception("failed too")
    found = lines(capsys)
    assert [line["event"] for line in found] == ["failed", "failed too"]
    for line in found:
        assert line["error"].startswith("ValueError in test_logs.py:")
        assert line["role"] == "gate"
        assert line["timestamp"].endswith("Z")
        assert "secret" not in json.dumps(line)


def test_an_error_of_ours_shows_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(load())
    try:
        raise StateError("What is wrong.", "What to do.")
    except StateError:
        logs.get("streams.test").exception("failed")
    assert lines(capsys)[0]["error"] == "What is wrong. What to do."

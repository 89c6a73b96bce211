"""Files for their owner alone: replaced whole or not at all, by one at a time, old blocks wiped."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.errors import KeyMaterialError
from streams.privacy import private

NAME = "The file"
STEPS = ("open", "fchmod", "write", "fsync", "rename", "close")


class Killed(BaseException):
    """The process ends here."""


def killed_at(number: int) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
    """Wraps functions so that the call of that number, of all of them, ends the process."""
    calls = 0

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number and name == "write":  # torn
                function(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if calls == number:
                raise Killed
            return function(*arguments, **options)

        return step

    return wrap


@pytest.mark.parametrize("wipe", [False, True])
def test_after_a_crash_at_any_step_the_file_is_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wipe: bool
) -> None:
    old, new = b"old" * 50, b"new" * 60
    found = []
    for number in range(1, 100):
        path = tmp_path / str(number) / "file"
        private.create(path, old, NAME)
        with monkeypatch.context() as patched:
            wrap = killed_at(number)
            for name in STEPS:
                patched.setattr(os, name, wrap(name, getattr(os, name)))
            try:
                private.replace(path, new, NAME, wipe=wipe)
            except Killed:
                finished = False
            else:
                finished = True
        found.append(private.read(path, NAME, ""))
        private.replace(path, b"next", NAME)  # what a crash left is no obstacle
        assert private.read(path, NAME, "") == b"next"
        assert [file.name for file in path.parent.iterdir()] == ["file"]
        if finished:
            break
    assert finished
    assert found == sorted(found, reverse=True)
    assert {*found} == {old, new}


def test_the_old_blocks_are_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    private.create(path, b"secret", NAME)
    with path.open("rb") as old:
        private.replace(path, b"changed", NAME)
        assert old.read() == b"secret"
    with path.open("rb") as old:
        private.replace(path, b"new", NAME, wipe=True)
        assert old.read() == bytes(7)
    assert path.read_bytes() == b"new"


def test_a_reader_never_gets_what_is_being_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + number]) * 3_000 for number in range(8)]
    private.create(path, contents[0], NAME)
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            private.replace(path, contents[number % len(contents)], NAME, wipe=True)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert private.read(path, NAME, "") in contents
    writer.join()


def test_what_is_replaced_stays_private_and_links_stay_links(tmp_path: Path) -> None:
    path, link = tmp_path / "folder" / "file", tmp_path / "link"
    private.create(path, b"old", NAME)
    link.symlink_to(path)
    previous = os.umask(0)
    try:
        with private.changing(link, NAME):
            private.replace(link, b"new", NAME)
    finally:
        os.umask(previous)
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_one_changes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with (
        private.changing(path, NAME),
        pytest.raises(KeyMaterialError, match="another command"),
        private.changing(path, NAME),
    ):
        pass
    with private.changing(path, NAME):
        pass


def test_what_cannot_be_written_is_an_error_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    private.create(path, b"old", NAME)
    (tmp_path / "file.new").mkdir()
    with pytest.raises(KeyMaterialError, match="cannot be changed"):
        private.replace(path, b"new", NAME)
    assert path.read_bytes() == b"old"
    with (
        pytest.raises(KeyMaterialError, match="cannot be changed"),
        private.changing(tmp_path / "nowhere" / "file", NAME),
    ):
        pass


def test_no_more_is_read_than_a_key_file_could_hold(tmp_path: Path) -> None:
    path = tmp_path / "file"
    private.create(path, bytes(private.MAX_BYTES + 5), NAME)
    assert len(private.read(path, NAME, "")) == private.MAX_BYTES

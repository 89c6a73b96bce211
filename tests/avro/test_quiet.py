from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from streams.avro.columns import ColumnDecoder
from streams.avro.quiet import panics_silenced

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
BODIES = [b"\x9a\x42no such length"]


def write(text: bytes) -> None:
    os.write(2, text)


def test_a_body_that_makes_polars_panic_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert len(ColumnDecoder(SCHEMA, ["a"]).decode(BODIES).bad) == 1
    assert capfd.readouterr() == ("", "")


def test_without_silence_it_prints_a_number_from_the_body(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr("streams.avro.containers.panics_silenced", nullcontext)
    ColumnDecoder(SCHEMA, ["a"]).decode(BODIES)
    told = capfd.readouterr().err
    assert "panicked at" in told
    assert f"index {(0x1A + (0x42 << 7)) >> 1} out of range" in told


def test_what_others_write_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with panics_silenced():
        write(b"from elsewhere\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "from elsewhere\n"
    write(b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_panic_message_is_dropped_and_only_then(capfd: pytest.CaptureFixture[str]) -> None:
    for text in (b"thread '<unnamed>' panicked at somewhere\n", b"fine\n"):
        with panics_silenced():
            write(text)
    assert capfd.readouterr().err == "fine\n"


def test_it_ends_when_the_last_of_several_threads_leaves(
    capfd: pytest.CaptureFixture[str],
) -> None:
    inside, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

    def hold(event: threading.Event) -> None:
        with panics_silenced():
            inside.wait()
            event.wait()

    threads = [threading.Thread(target=hold, args=(event,)) for event in leave]
    for thread in threads:
        thread.start()
    inside.wait()
    leave[0].set()
    threads[0].join()
    write(b"held back\n")
    assert capfd.readouterr().err == ""
    leave[1].set()
    threads[1].join()
    assert capfd.readouterr().err == "held back\n"


def test_an_error_inside_ends_it_too(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), panics_silenced():
        raise ValueError("inside")
    write(b"heard\n")
    assert capfd.readouterr().err == "heard\n"


def test_it_works_without_a_standard_error() -> None:
    code = (
        "import os; os.close(2)\n"
        "from streams.avro.quiet import panics_silenced\n"
        "with panics_silenced(): print('in')\n"
        "print('out')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "in\nout\n"

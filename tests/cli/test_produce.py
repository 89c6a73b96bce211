"""The catalogue file, read in both shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.cli.produce import read_catalogue
from streams.errors import SourceError


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "catalogue"
    file.write_text(text, encoding="utf-8")
    return file


def test_both_shapes_give_the_same(tmp_path: Path) -> None:
    expected = [("Añejo, Band", ("rock", "folk rock")), ("Other", ())]
    lines = (
        '{"artist": "Añejo, Band", "genres": ["rock", "folk rock"]}\n'
        '{"artist": "Other", "genres": []}\n'
    )
    assert list(read_catalogue(written(tmp_path, lines))) == expected
    table = 'artist,genres\n"Añejo, Band",rock; folk rock\nOther,\n'
    assert list(read_catalogue(written(tmp_path, table))) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name,tags\nsecret,rock\n", "columns artist and genres"),
        ('{"artist": "A", "genres": []}\n{"artist": "secret"}\n', "Line 2"),
        ('{"artist": "A", "genres": []}\n{"artist": 5, "genres": ["secret"]}\n', "Line 2"),
        ('{"artist": "A", "genres": []}\nsecret\n', "Line 2"),
    ],
)
def test_a_faulty_file_is_refused_without_its_content(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(SourceError, match=named) as caught:
        list(read_catalogue(written(tmp_path, text)))
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_catalogue(tmp_path / "nowhere.csv"))

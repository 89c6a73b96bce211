"""Formats are told by content in every wrapping; a history is read whole, in order, once."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import SourceError
from streams.settings import bundled
from streams.sources import detect
from streams.sources.detect import CHUNK, FORMATS, open_history
from streams.sources.play import Play
from streams.sources.tally import LeftOut, Tally, Unreadable

SCHEMA: Any = fastavro.parse_schema(json.loads((bundled("schemas") / "play.avsc").read_text()))


def listenbrainz(count: int) -> bytes:
    listens = (
        {"listened_at": 1_500_000_000 + n, "track_metadata": {"artist_name": f"Artist {n}"}}
        for n in range(count)
    )
    return b"".join(json.dumps(listen).encode() + b"\n" for listen in listens)


def lastfm1k(count: int) -> bytes:
    stamps = (f"2009-05-04T{n // 3_600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z" for n in range(count))
    return "".join(f"user\t{stamp}\t\tArtist\t\tTitle\n" for stamp in stamps).encode()


def spotify_extended(count: int) -> bytes:
    stream = {"ts": "2020-04-11T00:27:53Z", "master_metadata_album_artist_name": "Artist"}
    return json.dumps([stream | {"ms_played": n} for n in range(count)]).encode()


def spotify_account(count: int) -> bytes:
    stream = {"endTime": "2024-05-06 18:43", "artistName": "Artist", "trackName": "Title"}
    return json.dumps([stream | {"msPlayed": n} for n in range(count)], indent=2).encode()


SAMPLES: dict[str, Callable[[int], bytes]] = {
    "listenbrainz": listenbrainz,
    "lastfm-1k": lastfm1k,
    "spotify-extended": spotify_extended,
    "spotify-account": spotify_account,
}
NONE_OF_THEM = {
    "empty": b"",
    "profile.tsv": b"#id\tgender\tage\tcountry\tsince\tx\nuser\tm\t\tJapan\tAug 13, 2006\tx\n",
    "feedback.jsonl": b'{"recording_msid": "x", "score": 1, "created": 1}\n',
    "Playlist1.json": b'{"playlists": []}',
    "nothing.json": b"[]",
    "numbers.json": b"[1, 2]",
    "readme.pdf": b"%PDF-1.7\n\x00\xff",
    "PK.txt": b"PK and then some",
    "broken.gz": b"\x1f\x8b and then some",
}


def zipped(members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.mkdir("folder")
        for name, data in members.items():
            writer.writestr(f"folder/{name}", data)
    return archive.getvalue()


def plain(data: bytes) -> bytes:
    return data


def in_zip(data: bytes) -> bytes:
    return zipped({"x.txt": data})


def read(path: Path, user: str | None = None) -> list[Play]:
    return [play for chunk in open_history([path], user).chunks() for play in chunk]


def test_every_format_has_a_sample_here() -> None:
    assert {each.name for each in FORMATS} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("wrap", [plain, gzip.compress, in_zip])
@pytest.mark.parametrize("folder", [False, True])
def test_a_format_is_told_by_content(
    tmp_path: Path, name: str, wrap: Callable[[bytes], bytes], folder: bool
) -> None:
    path = tmp_path / "named.like.nothing"
    path.write_bytes(wrap(SAMPLES[name](3)))
    history = open_history([tmp_path if folder else path])
    assert (history.formats, history.other_files) == (Counter([name]), 0)
    assert sum(len(chunk) for chunk in history.chunks()) == history.read == 3


@pytest.mark.parametrize("name", SAMPLES)
def test_a_few_bad_entries_at_the_beginning_do_not_matter(name: str) -> None:
    sample = SAMPLES[name](2)
    spoiled = b'[{"x": 1}, ' + sample[1:] if sample[:1] == b"[" else b"\xff spoiled\n" + sample
    found = detect.detect(spoiled)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("name", NONE_OF_THEM)
def test_a_file_of_no_format_is_refused_with_the_formats_there_are(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(NONE_OF_THEM[name])
    with pytest.raises(SourceError) as caught:
        open_history([path])
    assert all(each.name in str(caught.value) for each in FORMATS)


def test_in_folders_and_archives_other_files_are_only_counted(tmp_path: Path) -> None:
    for name, data in NONE_OF_THEM.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(lastfm1k(1))
    (tmp_path / "sub" / "b.zip").write_bytes(zipped({"c": spotify_account(2)} | NONE_OF_THEM))
    history = open_history([tmp_path])
    assert history.formats == Counter(["lastfm-1k", "spotify-account"])
    assert history.other_files == 2 * len(NONE_OF_THEM)


@pytest.mark.parametrize("wrap", [plain, gzip.compress, in_zip])
def test_progress_rises_to_the_total_and_chunks_are_small(
    tmp_path: Path, wrap: Callable[[bytes], bytes]
) -> None:
    for number, sample in enumerate(SAMPLES.values()):
        (tmp_path / str(number)).write_bytes(wrap(sample(4_321)))
    history = open_history([tmp_path])
    seen: list[int] = []
    sizes = [len(chunk) for chunk in history.chunks(seen.append)]
    assert seen == sorted(seen)
    assert seen[-1] == history.total_bytes
    assert len(set(seen)) > 8
    assert sizes == [CHUNK, CHUNK, CHUNK, CHUNK, 321] * 4


def test_a_second_pass_gives_and_counts_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(lastfm1k(5) + b"spoiled\n")
    history = open_history([path])
    assert list(history.chunks()) == list(history.chunks())
    assert (history.read, history.unreadable) == (5, Counter([Unreadable.WRONG_COLUMNS]))


def test_counts_of_all_files_are_summed(tmp_path: Path) -> None:
    podcast = b'[{"endTime": "x", "podcastName": "y", "msPlayed": 1}]'
    (tmp_path / "a").write_bytes(podcast)
    (tmp_path / "b").write_bytes(podcast)
    (tmp_path / "c").write_bytes(b"spoiled\n" + lastfm1k(1))
    history = open_history([tmp_path])
    assert [len(chunk) for chunk in history.chunks()] == [1]
    assert history.left_out == Counter({LeftOut.PODCAST: 2})
    assert history.unreadable == Counter([Unreadable.WRONG_COLUMNS])


def test_importing_twice_gives_the_same_events(tmp_path: Path) -> None:
    for name, sample in SAMPLES.items():
        (tmp_path / name).write_bytes(sample(10))
    first, second = read(tmp_path), read(tmp_path)
    assert first == second
    assert len({play["event_id"] for play in first}) == len(first) == 40


@pytest.mark.parametrize(("user", "expected"), [(None, "me"), ("", "me"), ("x", "x")])
def test_the_user_is_the_callers_where_the_file_names_none(
    tmp_path: Path, user: str | None, expected: str
) -> None:
    for name, sample in SAMPLES.items():
        (tmp_path / name).write_bytes(sample(1))
    users = Counter(play["user_id"] for play in read(tmp_path, user))
    assert users == {expected: 3, "user": 1}


def test_a_cut_off_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(listenbrainz(20_000))[:-5_000])
    history = open_history([path])
    assert 10_000 < sum(len(chunk) for chunk in history.chunks()) < 20_000
    assert history.unreadable[Unreadable.DAMAGED] == 1


def test_a_missing_path_is_an_error() -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_history([Path("not/there")])


def test_no_path_is_an_error() -> None:
    with pytest.raises(SourceError, match="is named"):
        open_history([])


def test_a_locked_archive_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    data = bytearray(in_zip(lastfm1k(1)))
    for header, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(header) + flags_at] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="Unpack it"):
        open_history([path])


def test_a_file_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "x"
    path.write_bytes(lastfm1k(1))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        open_history([path])


def test_a_file_that_goes_away_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(lastfm1k(1))
    history = open_history([path])
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        list(history.chunks())


def test_a_history_does_not_show_its_user(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(lastfm1k(1))
    assert "SECRET" not in repr(open_history([tmp_path], "SECRET"))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["2020-04-11T00:27:53Z", 1_500_000_000, 1_000, "\ud800"])
)
values = scalars | st.lists(scalars, max_size=2)


def objects(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


extended = objects(
    *("ts", "ms_played", "platform", "conn_country", "ip_addr", "ip_addr_decrypted"),
    *("master_metadata_track_name", "master_metadata_album_artist_name", "spotify_track_uri"),
    *("master_metadata_album_album_name", "reason_end", "skipped", "incognito_mode"),
)
account = objects("endTime", "msPlayed", "artistName", "trackName")
info = objects("duration", "duration_ms", "artist_mbids", "tags", "isrc", "recording_mbid")
metadata = st.builds(
    lambda outer, inner, mapped: outer | {"additional_info": inner, "mbid_mapping": mapped},
    objects("artist_name", "track_name", "release_name"),
    values | info,
    values | info,
)
listen = st.builds(
    lambda outer, inner: outer | {"track_metadata": inner},
    objects("listened_at", "timestamp", "user_name"),
    values | metadata,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(extended | account | listen | values), st.binary(max_size=40))
def test_whatever_a_file_says_it_is_counted_and_plays_fit_the_schema(
    documents: list[Any], junk: bytes
) -> None:
    one_a_line = b"".join(json.dumps(each).encode() + b"\n" for each in documents)
    for form in FORMATS:
        for data in (one_a_line + junk, junk + one_a_line, json.dumps(documents).encode()):
            tally = Tally()
            plays = list(form.plays(io.BytesIO(data), "user", tally))
            for play in plays:
                fastavro.schemaless_writer(io.BytesIO(), SCHEMA, play, strict=True)
            entries = sum(1 for _ in form.entries(io.BytesIO(data), Tally()))
            assert entries <= len(plays) + tally.left_out.total() + tally.unreadable.total()

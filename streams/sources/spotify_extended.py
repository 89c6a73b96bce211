"""Spotify's "Extended streaming history": JSON arrays, one object per stream.

``ts`` is when the stream *ended*, in UTC, so a play began ``ms_played`` before. Music, podcasts and
audiobooks share the files. Exports of different years differ: the address is ``ip_addr_decrypted``
or ``ip_addr`` and may have its last part blotted out, ``username`` is only in older ones (so all
plays go to the caller's user, lest one person become two), ``skipped`` and ``reason_end`` may be
null. ``offline_timestamp`` comes in seconds or milliseconds and is not used. Source of the format:
the "Read me first" document in the export, and Spotify's page "Understanding my data".
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from streams.sources.play import event_id, play
from streams.sources.reading import Format, Outcome, items, milliseconds, text, utc_to_ms
from streams.sources.tally import LeftOut, Unreadable

NAME = "spotify-extended"
_END_REASONS = frozenset({"trackdone", "fwdbtn", "backbtn", "endplay", "logout"})
_PODCAST_FIELDS = ("spotify_episode_uri", "episode_name", "episode_show_name")
_AUDIOBOOK_FIELDS = ("audiobook_uri", "audiobook_title", "audiobook_chapter_uri")


def to_play(item: object, user: str) -> Outcome:
    """The play that an item tells of, or why there is none."""
    if not isinstance(item, dict) or not matches(item):
        return Unreadable.NOT_A_PLAY
    ended_at, ms_played = utc_to_ms(item["ts"]), milliseconds(item["ms_played"])
    if any(item.get(name) for name in _PODCAST_FIELDS):
        return LeftOut.PODCAST
    if any(item.get(name) for name in _AUDIOBOOK_FIELDS):
        return LeftOut.AUDIOBOOK
    if ms_played is None:
        return Unreadable.BAD_LENGTH
    if ended_at is None or ended_at < ms_played:
        return Unreadable.BAD_TIME
    artist = text(item.get("master_metadata_album_artist_name"))
    if artist is None:
        return Unreadable.NO_ARTIST
    title = text(item.get("master_metadata_track_name"))
    skipped = item.get("skipped")
    return play(
        event_id=event_id(NAME, user, ended_at - ms_played, artist, title),
        user_id=user,
        started_at=ended_at - ms_played,
        ms_played=ms_played,
        artist=artist,
        title=title,
        album=text(item.get("master_metadata_album_album_name")),
        uri=text(item.get("spotify_track_uri")),
        model=text(item.get("platform")),
        ip=_address(text(item.get("ip_addr")) or text(item.get("ip_addr_decrypted"))),
        country=_country(text(item.get("conn_country"))),
        end_reason=_end_reason(text(item.get("reason_end"))),
        skipped=skipped if isinstance(skipped, bool) else None,
        private_session=item.get("incognito_mode") is True,
    )


def _end_reason(reason: str | None) -> str | None:
    return reason if reason is None or reason in _END_REASONS else "unknown"


def _country(code: str | None) -> str | None:
    """The country, unless it is no ISO code or ZZ, which stands for an unknown one."""
    if code is None or len(code) != 2 or not (code.isascii() and code.isalpha()):
        return None
    return None if code.upper() == "ZZ" else code.upper()


@lru_cache(maxsize=10_000)
def _address(address: str | None) -> str | None:
    if address is None:
        return None
    try:
        return str(ip_address(address))
    except ValueError:
        return None


def matches(item: object) -> bool:
    """Whether an item is an object with the end and the length of a stream."""
    return isinstance(item, dict) and "ts" in item and "ms_played" in item


FORMAT = Format(NAME, "Spotify extended streaming history, JSON", items, matches, to_play)

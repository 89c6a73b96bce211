"""Spotify's "Account data": ``StreamingHistory*.json``, arrays with the last year of streams.

``endTime`` is when the stream *ended*, in UTC and cut to the minute, so a start is known to the
minute only. Podcasts and audiobooks have files of their own with other names; in exports from
before that split they look like music and cannot be told apart. Source of the format: Spotify's
page "Understanding my data".
"""

from __future__ import annotations

from streams.sources.play import event_id, play
from streams.sources.reading import Format, Outcome, items, milliseconds, text, utc_to_ms
from streams.sources.tally import LeftOut, Unreadable

NAME = "spotify-account"


def to_play(item: object, user: str) -> Outcome:
    """The play that an item tells of, or why there is none."""
    if not isinstance(item, dict) or not matches(item):
        return Unreadable.NOT_A_PLAY
    if "podcastName" in item or "episodeName" in item:
        return LeftOut.PODCAST
    if "audiobookName" in item or "chapterName" in item:
        return LeftOut.AUDIOBOOK
    ended_at, ms_played = utc_to_ms(item["endTime"]), milliseconds(item["msPlayed"])
    if ms_played is None:
        return Unreadable.BAD_LENGTH
    if ended_at is None or ended_at < ms_played:
        return Unreadable.BAD_TIME
    artist = text(item.get("artistName"))
    if artist is None:
        return Unreadable.NO_ARTIST
    title = text(item.get("trackName"))
    return play(
        event_id=event_id(NAME, user, ended_at - ms_played, artist, title),
        user_id=user,
        started_at=ended_at - ms_played,
        ms_played=ms_played,
        artist=artist,
        title=title,
    )


def matches(item: object) -> bool:
    """Whether an item is an object with the end and the length of a stream."""
    return isinstance(item, dict) and "endTime" in item and "msPlayed" in item


FORMAT = Format(NAME, "Spotify account data, JSON", items, matches, to_play)

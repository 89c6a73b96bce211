"""An invented world of music: artists with genres, albums and tracks, all from word lists.

Names are put together by chance; where one is the name of a real artist, that is chance too.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from random import Random

from streams.sources.canary import marks
from streams.sources.play import Artist, Track, uuid8

ARTISTS = 480
GENRES = (
    "rock",
    "pop",
    "electronic",
    "hip hop",
    "indie",
    "jazz",
    "classical",
    "metal",
    "folk",
    "soul",
    "ambient",
    "punk",
    "house",
    "techno",
    "r&b",
    "country",
    "blues",
    "reggae",
    "latin",
    "funk",
)
_TAGGED_SHARE = 0.7


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ADJECTIVES = _words("""
    Amber Brittle Candid Copper Crooked Distant Drowsy Earnest Feral Gentle Gilded Hollow Humble
    Idle Ivory Jagged Lonesome Lucid Marble Mellow Muted Nimble Northern Opal Paper Patient Pewter
    Quiet Restless Rusty Salted Scarlet Silent Slanted Solar Stubborn Tidal Velvet Wandering Woolen
""")
_NOUNS = _words("""
    Almanac Anchor Barometer Beacon Bramble Cartographer Cinder Compass Cormorant Delta Ember Ferry
    Furnace Garden Harbor Heron Island Juniper Kettle Lantern Lighthouse Magpie Meadow Mosaic
    Orchard Parade Pebble Pendulum Quarry Raft Satellite Sparrow Staircase Telegraph Thicket Turbine
    Umbrella Viaduct Window Zeppelin
""")
_GIVEN = _words("Adela Bram Corin Delphe Eskil Fenna Goran Hedda Ismay Jorun Kasimir Liora Mirel")
_FAMILY = _words("Ashgrove Belvoir Calloway Drummel Eastmere Fenwright Garrow Hollin Isherd")
_VERBS = _words("Leaving Finding Losing Following Keeping Chasing Naming Mending Burning Holding")


@dataclass(frozen=True, slots=True)
class World:
    """Everything that can be heard.

    ``genres`` has each artist's, most fitting first; ``tagged`` says whose plays bring them along.
    The tracks of artist ``a`` are ``first_track[a]`` up to, not including, ``first_track[a + 1]``,
    album after album. ``streamed`` and ``local`` describe the same tracks as a streaming service
    and as a file do.
    """

    artists: tuple[Artist, ...]
    genres: tuple[tuple[str, ...], ...]
    tagged: tuple[bool, ...]
    first_track: tuple[int, ...]
    durations_ms: tuple[int, ...]
    streamed: tuple[Track, ...]
    local: tuple[Track, ...]


def build(seed: int, canary: str | None) -> World:
    """The world of a seed. With a canary, every personal field of every track carries it."""
    rng = Random(seed)  # noqa: S311 - invented music is no secret
    names = rng.sample(_artist_names(), ARTISTS)
    first, tracks = [0], list[Track]()
    mark = marks(canary)
    for name in names:
        for _ in range(rng.randint(1, 4)):
            album = _title(rng)
            for position in range(1, rng.randint(7, 11)):
                tracks.append(_track(rng, f"{seed}:{len(tracks)}", name, album, position, mark))
        first.append(len(tracks))
    return World(
        artists=tuple({"name": name, "mbid": uuid8(f"artist:{seed}:{name}")} for name in names),
        genres=tuple(_genres(rng) for _ in names),
        tagged=tuple(rng.random() < _TAGGED_SHARE for _ in names),
        first_track=tuple(first),
        durations_ms=tuple(track["duration_ms"] or 0 for track in tracks),
        streamed=tuple(tracks if canary else (_as_stream(track) for track in tracks)),
        local=tuple(tracks if canary else (_as_file(track) for track in tracks)),
    )


def playlist_names(seed: int, count: int) -> list[str]:
    """Names such as listeners give their playlists."""
    rng = Random(f"playlists:{seed}")  # noqa: S311 - nor are invented names
    return [f"{rng.choice(_ADJECTIVES).lower()} {rng.choice(_NOUNS)} mix" for _ in range(count)]


def _artist_names() -> list[str]:
    bands = [f"{adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    plurals = [f"The {noun}s" for noun in _NOUNS]
    people = [f"{given} {family}" for given in _GIVEN for family in _FAMILY]
    return bands + plurals + people


def _genres(rng: Random) -> tuple[str, ...]:
    """One to three genres; the first ones of the list are the most common."""
    skewed = [GENRES[int(len(GENRES) * rng.random() ** 1.6)] for _ in range(rng.randint(1, 3))]
    return tuple(dict.fromkeys(skewed))


def _title(rng: Random) -> str:
    form = rng.randrange(3)
    if form == 0:
        return f"{rng.choice(_VERBS)} the {rng.choice(_NOUNS)}"
    if form == 1:
        return f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}"
    return f"{rng.choice(_NOUNS)} of {rng.choice(_NOUNS)}s"


def _duration_ms(rng: Random) -> int:
    """Around three and a half minutes, a few much longer."""
    return int(1_000 * min(60 + rng.gammavariate(6, 26), 900)) + rng.randrange(1_000)


def _track(
    rng: Random, key: str, artist: str, album: str, position: int, mark: dict[str, str]
) -> Track:
    """A track with all that can be known of it; the ISRC has ZZ for its country: nobody's."""
    title = _title(rng)
    path = f"{artist}/{album}/{position:02d} {title}.flac"
    return {
        "title": mark["track.title"] + title,
        "album": mark["track.album"] + album,
        "isrc": f"{mark['track.isrc']}ZZSVO{int(_digest(key)[:8], 16) % 10_000_000:07d}",
        "recording_mbid": mark["track.recording_mbid"] + uuid8(f"recording:{key}"),
        "uri": f"sotto:track:{mark['track.uri']}{_digest(f'uri:{key}')[:22]}",
        "file_path": f"/Music/{mark['track.file_path']}{path}",
        "file_hash": mark["track.file_hash"] + _digest(f"file:{key}"),
        "duration_ms": _duration_ms(rng),
    }


def _as_stream(track: Track) -> Track:
    return {**track, "file_path": None, "file_hash": None}


def _as_file(track: Track) -> Track:
    return {**track, "isrc": None, "recording_mbid": None, "uri": None}


def _digest(content: str) -> str:
    return sha256(content.encode()).hexdigest()

"""The notice for listeners: what is collected, what becomes of it, and what they can do about it.

Written for people, from the inventory. Words for fields of our own schemas stand here; a field that
an installation adds is called what its schema's doc says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from streams.privacy.document import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Table,
    Terms,
    as_json,
)
from streams.privacy.inventory import Fate, Field, Inventory, Use
from streams.privacy.stores import Store
from streams.privacy.treatments import (
    BucketEdges,
    BucketWidth,
    Drop,
    Generalize,
    Keep,
    Pseudonymize,
    TruncateAddress,
    TruncatePoint,
    TruncateTime,
)
from streams.privacy.wording import listed
from streams.topics import PLAYS, PRIVACY_REQUESTS

TITLE = "What happens to what you listen to"
WHOEVER = "the company whose app or device you listen with"

PLAY: Mapping[str, str] = {
    "event_id": "the number your app gives each play",
    "user_id": "your account",
    "started_at": "when you started the track",
    "ms_played": "how long you heard it",
    "device.serial": "the serial number of your headphones or speaker",
    "device.model": "the model of your device",
    "ip": "your internet address",
    "location.latitude": "where you were, as coordinates",
    "location.longitude": "where you were, as coordinates",
    "location.country": "the country you were in",
    "track.title": "the title of the track",
    "track.album": "its album",
    "track.isrc": "its codes in catalogues",
    "track.recording_mbid": "its codes in catalogues",
    "track.uri": "its address in a streaming service",
    "track.file_path": "where the file is on your device",
    "track.file_hash": "the fingerprint of the file",
    "track.duration_ms": "how long the track is",
    "artist.name": "the artist",
    "artist.mbid": "the artist's code in a catalogue",
    "genres": "the genres",
    "context.type": "whether you played it from an album, a playlist, the radio or a search",
    "context.name": "the name of the playlist or station",
    "end_reason": "why it ended",
    "skipped": "whether you skipped it",
    "private_session": "whether you were in a private session",
}
"""Fields of a play, as a listener would call them."""

WORKED_OUT: Mapping[str, str] = {
    "completion": "how much of the track you heard, in percent",
    "counted": "whether the play was long enough to count",
    "skipped": "whether you skipped the track",
    "epoch": "",
    "source_partition": "",
    "source_offset": "",
}
"""What the gate works out of a play; empty where it is about the processing and not about you."""

PROFILE: Mapping[str, str] = {
    "listener": "",
    "epoch": "",
    "as_of": "when you listened first and last",
    "first_at": "when you listened first and last",
    "plays": "how much you play, lately and over the years",
    "listens": "how much you play, lately and over the years",
    "terms": "",
    "terms.name": "",
    "terms.half_life_days": "",
    "terms.plays": "how much you play, lately and over the years",
    "terms.listens": "how much you play, lately and over the years",
    "terms.minutes": "how much you play, lately and over the years",
    "terms.skip_rate": "how often you skip",
    "terms.completion": "how much of a track you usually hear",
    "terms.discovery_rate": "how often you try an artist who is new to you",
    "terms.repeat_share": "how often you come back to the same artists",
    "terms.artist_diversity": "how varied your artists and genres are",
    "terms.genre_diversity": "how varied your artists and genres are",
    "terms.artists": "the artists and genres you play most",
    "terms.artists.name": "",
    "terms.artists.weight": "",
    "terms.artists.share": "",
    "terms.genres": "the artists and genres you play most",
    "terms.genres.name": "",
    "terms.genres.weight": "",
    "terms.genres.share": "",
    "rhythm": "at which hours of the week you listen",
}
"""Fields of a profile, likewise."""

HELD: Mapping[str, str] = {
    "listens": "Your single plays",
    "listens.analytics": "Your single plays",
    "taste-state": "Your profile",
    "taste-profiles": "Your profile",
    "warehouse": "Your plays, added up per day",
    "release": "The statistics",
}
"""What stands in each store, likewise."""

PURPOSES: Mapping[str, str] = {
    "personalization": "your profile",
    "analytics": "statistics",
    "sharing": "sharing",
}


def document(inventory: Inventory, controller: str | None = None) -> Document:
    """The notice. ``controller`` is who is responsible and how to reach them.

    Its version, at the end, is a digest of everything before it: the same text has the same one.
    """
    blocks = tuple(_blocks(inventory, controller or WHOEVER))
    digest = sha256(as_json(Document(TITLE, blocks)).encode()).hexdigest()[:12]
    return Document(TITLE, (*blocks, Paragraph(f"Version of this notice: `{digest}`")))


def _blocks(inventory: Inventory, controller: str) -> Iterator[Block]:
    yield Paragraph(f"Responsible: {controller}.")
    yield Bullets(tuple(_in_short(inventory)))
    yield from _collected(inventory)
    yield from _worked_out(inventory)
    for use in inventory.uses:
        yield from _used(use)
    yield from _choices(inventory, controller)
    yield from _protection(inventory)


def _in_short(inventory: Inventory) -> Iterator[str]:
    yield "Your app reports each track you play. Only one guarded program sees these reports."
    unkept = [
        field
        for field in inventory.fields
        if not any(fate.into or fate.used for fate in field.fates.values())
    ]
    yield f"Nobody beyond it ever gets {listed(_names(unkept), 'or')}."
    if all(use.by_consent for use in inventory.uses):
        yield "Your plays are used for nothing that you have not allowed."
    else:
        yield "Some uses need your permission, some do not; each says so below."
    others = [use.recipient for use in inventory.uses if use.third_party]
    if not others:
        yield "Nothing is passed on to other companies."
    else:
        yield f"If you allow it, some of it is passed on to {listed(others)}."
    yield "You can look at everything, change your mind, and have it erased at any time."


def _collected(inventory: Inventory) -> Iterator[Block]:
    plays = _store(inventory.raw, PLAYS.name)
    yield Heading("What is collected, and what becomes of it")
    yield Paragraph(
        "Each time you play a track, your app or device sends a report of it. It is kept as it"
        f" came, in a closed area, for {plays.kept}, and then deleted. There, one program prepares"
        " it for each use. This table says what is left of each part after that."
    )
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Field]] = {}
    for field in inventory.fields:
        cells = tuple(_fate(field.fates[use.audience]) for use in inventory.uses)
        groups.setdefault((field.tags, cells), []).append(field)
    rows = [(_sentence(listed(_names(of))), *cells) for (_, cells), of in groups.items()]
    rows.append(("Anything else in the report", *("Not kept." for _ in inventory.uses)))
    header = ("What is reported", *(_sentence(f"for {_aim(use)}") for use in inventory.uses))
    yield Table(header, tuple(rows))


def _worked_out(inventory: Inventory) -> Iterator[Block]:
    derived = {c.name: c.doc for use in inventory.uses for c in use.columns if c.derived}
    found = _called(derived, WORKED_OUT)
    yield Heading("What is worked out from it")
    yield Paragraph(f"From each play: {listed(found)}.")
    yield Paragraph("From all your plays together, for your profile:")
    yield Bullets(tuple(map(_sentence, _called(inventory.profile, PROFILE))))
    yield Paragraph("What you played long ago counts less and less in it.")


def _used(use: Use) -> Iterator[Block]:
    yield Heading(_sentence(_aim(use)))
    yield Terms(
        (
            ("What for", use.description),
            ("On what ground", _ground(use)),
            ("Who receives it", f"{use.recipient}.".replace("..", ".")),
            ("How long it is kept", " ".join(_kept(use))),
            ("If you have not decided", " ".join(_undecided(use))),
        )
    )


def _ground(use: Use) -> str:
    if use.by_consent:
        return "Your permission."
    return "Your permission, or where you have not decided, what the law allows without it."


def _kept(use: Use) -> Iterator[str]:
    if use.third_party:
        yield f"With us {use.stores[0].kept}. With {use.recipient}, as long as they say."
        yield "We note when they first and last received something of you."
        return
    said = set()
    for store in use.stores:
        name = HELD.get(store.name, store.holds)
        if name not in said:
            said.add(name)
            yield f"{_sentence(name)}: {_span(store)}."


def _span(store: Store) -> str:
    if not store.categories:
        return f"{store.holds}, never about one; {store.kept}"
    if store.lasts:
        return "until you take back your permission or have it erased"
    return store.kept


def _undecided(use: Use) -> Iterator[str]:
    yield "Your plays are used." if use.undecided else "Your plays are not used."
    for allowed, verb in ((True, "are"), (False, "are not")):
        countries = [country for country, rule in use.jurisdictions.items() if rule is allowed]
        if countries:
            yield f"Plays in {listed(countries)} {verb}."


def _choices(inventory: Inventory, controller: str) -> Iterator[Block]:
    requests = _store(inventory.raw, PRIVACY_REQUESTS.name)
    plays = _store(inventory.raw, PLAYS.name)
    yield Heading("What you can do")
    yield Paragraph(
        f"Do this in the settings of your app, or ask {controller}. You need give no reason. It"
        " takes effect within minutes, and you get a signed receipt that says what was done and how"
        " it was checked."
    )
    yield Terms(tuple(_rights(inventory)))
    yield Paragraph(
        "Reports of plays that are in the closed area already stay there until their time"
        f" ({plays.kept}) is over, but nothing is made of them any more. What you asked for is kept"
        f" for {requests.kept}; your receipts, as proof, without limit."
    )


def _rights(inventory: Inventory) -> Iterator[tuple[str, str]]:
    aims = listed([_aim(use) for use in inventory.uses])
    shared = any(use.third_party for use in inventory.uses)
    yield (
        "Allow or refuse",
        f"You decide for each use: {aims}. If you take a permission back, later plays are no longer"
        " used for it, and what was made of earlier ones for it is deleted.",
    )
    yield (
        "Listen in private",
        "What you play in a private session goes no further than the closed area.",
    )
    yield (
        "Leave something out",
        "Name an artist, an evening or any stretch of time: it leaves your profile and stays out.",
    )
    yield (
        "Pause",
        "What is there is kept but not used, and what you play is not added to it, until you say"
        " so.",
    )
    yield (
        "See everything",
        "You get all that is held about you, with its purpose and who received it, as a file and as"
        " a page to read.",
    )
    yield (
        "Erase",
        "Your profile, your plays, all that was added up of them and your permissions are deleted"
        + (", and who received some of it is told to delete it." if shared else ".")
        + " They do not come back: a note that you asked is kept under a code, without your name.",
    )
    yield ("Complain", "The data protection authority where you live takes complaints.")


def _protection(inventory: Inventory) -> Iterator[Block]:
    yield Heading("How it is protected, and how it is not")
    yield Bullets(
        (
            "Your account is replaced by a code. Making it takes a secret key that only the one"
            " program has. Each use has codes of its own, so that lists cannot be laid side by"
            " side. From time to time the keys are replaced and the old ones destroyed.",
            f"Statistics never show fewer than {inventory.min_listeners} people together.",
            "If your taste is rare, somebody who knows it could recognize you by your artists, even"
            " without your name.",
            "Who runs the closed area could look into it. Backups, if there are any, follow rules"
            " of their own.",
        )
    )


def _fate(fate: Fate) -> str:
    """What becomes of a field, for one use."""
    match fate.treatment:
        case Drop():
            if fate.feeds:
                return "Used for what is worked out below, then dropped."
            if fate.checks:
                return "Read to decide whether the play may be used, then dropped."
            return "Not kept."
        case Keep():
            return "Kept."
        case Pseudonymize():
            return "Replaced by a code."
        case TruncateTime(to=unit):
            return f"Kept to the {unit}."
        case TruncateAddress():
            return "Only the network it belongs to."
        case TruncatePoint(decimals=decimals):
            return f"Only roughly, to about {_precision(decimals)}."
        case Generalize():
            return f"Only its kind: {listed(fate.labels, 'or')}."
        case BucketWidth() | BucketEdges():
            return "Only a range that it lies in."
    raise TypeError(f"{fate.treatment.kind} has no words")


def _precision(decimals: int) -> str:
    """Of a degree of latitude, which is 111 km."""
    metres = 111_000 / 10**decimals
    return f"{metres / 1_000:.0f} km" if metres >= 1_000 else f"{metres:.2g} m"


def _aim(use: Use) -> str:
    known = PURPOSES.get(use.purpose, use.purpose)
    return f"sharing with {use.recipient}" if use.third_party else known


def _names(fields: list[Field]) -> tuple[str, ...]:
    called = (PLAY.get(field.path, field.doc.rstrip(".") or field.path) for field in fields)
    return tuple(dict.fromkeys(called))


def _called(docs: Mapping[str, str], words: Mapping[str, str]) -> tuple[str, ...]:
    found = (words.get(path, doc.rstrip(".") or path) for path, doc in docs.items())
    return tuple(name for name in dict.fromkeys(found) if name)


def _store(stores: tuple[Store, ...], name: str) -> Store:
    return next(store for store in stores if store.name == name)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

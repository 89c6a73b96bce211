"""`schema check` finds nothing in the committed folder and every fault planted in a copy of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.privacy import policy
from streams.privacy.check import Finding, check
from streams.topics import ALL, Zone

COMMITTED = Path(__file__).parents[2] / "schemas"
Edit = Callable[[Any], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(COMMITTED, tmp_path / "schemas"))


def findings(folder: Path) -> list[Finding]:
    return check(folder, policy.load(folder / "policy.toml"))


def edit(folder: Path, name: str, change: Edit) -> None:
    file = folder / f"{name}.avsc"
    schema = json.loads(file.read_text(encoding="utf-8"))
    change(schema)
    file.write_text(json.dumps(schema), encoding="utf-8")


def field(schema: Any, path: str) -> dict[str, Any]:
    *around, last = path.split(".")
    for name in around:
        schema = field(schema, name)["type"]
    return next(entry for entry in schema["fields"] if entry["name"] == last)


def setting(path: str, key: str, value: object) -> Edit:
    return lambda schema: field(schema, path).update({key: value})


def lacking(path: str, key: str) -> Edit:
    return lambda schema: field(schema, path).pop(key)


def adding(**declared: object) -> Edit:
    return lambda schema: schema["fields"].append({"doc": "For a test.", **declared})


def test_nothing_is_found_in_the_committed_folder(folder: Path) -> None:
    assert findings(folder) == []


FROM, DERIVED = "sottovoce:from", "sottovoce:derived"
TAGS = "confluent:tags"
FAULTS: dict[str, tuple[str, Edit, str]] = {
    "no doc": ("listen", lacking("artist", "doc"), "artist"),
    "no doc deep within": ("taste-profile", lacking("rhythm", "doc"), "rhythm"),
    "blank doc": ("play", setting("track.title", "doc", " "), "track.title"),
    "a leaf without a tag": ("play", lacking("ip", TAGS), "ip"),
    "a new leaf without a tag": ("consent", adding(name="why", type="string"), "why"),
    "a tag without a treatment": ("play", setting("track.isrc", TAGS, ["SONG"]), "track.isrc"),
    "a second tag without one": (
        "privacy-request",
        setting("user_id", TAGS, ["USER_ID", "PII"]),
        "user_id",
    ),
    "an untagged raw record": ("rejected", lambda schema: schema.pop(TAGS), "value"),
    "an untagged catalogue": ("artist-catalogue", lacking("genres", TAGS), "genres"),
    "a treatment that does not fit": (
        "play",
        setting("end_reason", TAGS, ["EVENT_TIME"]),
        "end_reason",
    ),
    "a treatment of another unit": (
        "consent",
        setting("decided_at", "type", {"type": "long", "logicalType": "timestamp-micros"}),
        "decided_at",
    ),
    "a record within itself": ("play", adding(name="more", type=["null", "Play"]), ""),
    "tags that are text": ("play", setting("ip", TAGS, "IP_ADDRESS"), ""),
    "a listen field from nowhere": ("listen", setting("artist", FROM, "artist.title"), "artist"),
    "a listen field from a dropped leaf": ("listen", setting("country", FROM, "ip"), "country"),
    "a listen field of another type": ("listen", setting("event", "type", "string"), "event"),
    "a listen field that says nothing": ("listen", lacking("country", FROM), ""),
    "a derivation nobody wrote": ("listen", setting("counted", DERIVED, {"by": "x"}), ""),
    "undeclared reads": (
        "listen",
        setting("counted", DERIVED, {"by": "counted", "reads": ["ms_played", "track.title"]}),
        "",
    ),
    "a required field from a nullable leaf": (
        "play",
        setting("artist.name", "type", ["null", "string"]),
        "artist",
    ),
    "a leaf that the gate reads is gone": (
        "play",
        lambda schema: schema["fields"].remove(field(schema, "end_reason")),
        "",
    ),
}


@pytest.mark.parametrize(("name", "change", "path"), FAULTS.values(), ids=FAULTS)
def test_every_planted_fault_is_found(folder: Path, name: str, change: Edit, path: str) -> None:
    edit(folder, name, change)
    found = findings(folder)
    assert path in {finding.path for finding in found}
    for finding in found:
        assert finding.problem
        assert finding.remedy


def test_a_dropped_leaf_in_a_listen_is_called_that(folder: Path) -> None:
    edit(folder, "listen", setting("country", FROM, "ip"))
    (found,) = findings(folder)
    assert "the policy drops" in found.problem


def test_the_rule_holds_for_every_raw_topic(folder: Path) -> None:
    for name in {topic.schema for topic in ALL if topic.zone is Zone.RAW}:
        edit(folder, name, adding(name="unheard_of", type=["null", "string"], default=None))
        edit(folder, name, lambda schema: schema.pop(TAGS, None))
    missing = {finding.schema for finding in findings(folder) if finding.path == "unheard_of"}
    assert missing == {topic.schema for topic in ALL if topic.zone is Zone.RAW}


def test_a_second_audience_needs_a_treatment_for_every_tag(folder: Path) -> None:
    rules = policy.load(folder / "policy.toml")
    known = rules.audiences["analytics"]
    for tag in known.treatments:
        fewer = {other: done for other, done in known.treatments.items() if other != tag}
        second = policy.Audience("sharing", "Nobody", "For a test.", fewer, third_party=True)
        both = policy.Policy({**rules.audiences, "sharing": second}, rules.lookups, rules.kafka)
        found = check(folder, both)
        assert found
        assert all(tag in finding.problem and "sharing" in finding.remedy for finding in found)


@pytest.mark.parametrize("content", ["", "{", '"string"', '{"type": "record"}', "\xff", "[" * 9999])
def test_an_unreadable_schema_is_a_finding(folder: Path, content: str) -> None:
    (folder / "listen.avsc").write_bytes(content.encode("latin-1"))
    assert {finding.schema for finding in findings(folder)} == {"listen"}


@pytest.mark.parametrize("name", sorted({topic.schema for topic in ALL}))
def test_a_missing_schema_is_a_finding(folder: Path, name: str) -> None:
    (folder / f"{name}.avsc").unlink()
    assert name in {finding.schema for finding in findings(folder)}


def release(folder: Path, number: int, name: str = "listen") -> None:
    released = folder / "released" / name
    released.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / f"{name}.avsc", released / f"{number}.avsc")


def test_a_change_is_held_against_the_newest_release(folder: Path) -> None:
    def grow(name: str, **more: object) -> None:
        edit(folder, "privacy-command", adding(name=name, type=["null", "string"], **more))

    release(folder, 9, "privacy-command")
    grow("later", default=None)
    release(folder, 10, "privacy-command")
    assert findings(folder) == []
    grow("without_default")
    (found,) = findings(folder)
    assert found.schema == "privacy-command"
    assert "release 10" in found.problem
    assert "without_default" in found.problem


def test_an_unreadable_release_is_a_finding(folder: Path) -> None:
    release(folder, 1)
    (folder / "released" / "listen" / "2.avsc").write_text("{", encoding="utf-8")
    (found,) = findings(folder)
    assert found.path == "released/listen/2.avsc"

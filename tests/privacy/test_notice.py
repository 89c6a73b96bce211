"""The published notice is what is enforced, in every form, and readable for whom it is meant."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from streams.cli import notice as command
from streams.cli.notice import Form, Reader
from streams.errors import PolicyError
from streams.privacy import document, fides, notice, processing, tags
from streams.privacy.document import Bullets, Document, Heading, Paragraph, Table, Terms
from streams.privacy.inventory import Fate
from streams.privacy.policy import Policy
from streams.privacy.treatments import Drop, Keep, TruncatePoint
from tests.cli.command import run
from tests.privacy.parties import (
    COMMITTED,
    FIDES_BASES,
    FIDES_CATEGORIES,
    FIDES_SUBJECTS,
    FIDES_USES,
    SCHEMAS,
    taken,
    treating,
    with_radio,
)
from tests.privacy.test_inventory import ONE_OF_EACH

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "deploy" / "notice"
HOSTILE = 'A|B <script>alert(1)</script> *x* `y` [z](http://z) & "q"'


def listeners(rules: Policy = COMMITTED, controller: str | None = None) -> str:
    return document.markdown(notice.document(taken(rules), controller))


def test_what_is_published_is_what_is_enforced() -> None:
    command.compare(command.files(taken()), PUBLISHED)
    assert {file.name for file in PUBLISHED.iterdir()} == set(command.files(taken()))


def test_a_change_of_what_is_enforced_is_found_and_its_first_line_named() -> None:
    changed = taken(treating(COMMITTED, "analytics", {"COUNTRY": Drop()}))
    with pytest.raises(PolicyError, match=r"notice\.md.*Line \d+.*country") as caught:
        command.compare(command.files(changed), PUBLISHED)
    assert "sottovoce notice --out" in caught.value.remedy


def test_a_treatment_that_reaches_no_listen_changes_nothing() -> None:
    command.compare(
        command.files(taken(treating(COMMITTED, "analytics", {"IP_ADDRESS": Keep()}))), PUBLISHED
    )


def test_a_missing_file_and_a_shorter_one_are_found(tmp_path: Path) -> None:
    contents = command.files(taken())
    with pytest.raises(PolicyError, match="cannot be read"):
        command.compare(contents, tmp_path)
    command.write(contents, tmp_path / "deep" / "folder")
    command.compare(contents, tmp_path / "deep" / "folder")
    file = tmp_path / "deep" / "folder" / "inventory.json"
    file.write_text(file.read_text("utf-8")[:-2], "utf-8")
    with pytest.raises(PolicyError, match=r"inventory\.json.*Line"):
        command.compare(contents, tmp_path / "deep" / "folder")


def test_the_same_inventory_gives_the_same_bytes_and_no_time() -> None:
    first, second = command.files(taken()), command.files(taken())
    assert first == second
    assert not re.search(r"\b20[0-9]{2}-[01]\d", "".join(first.values()))


def test_every_field_of_the_schemas_has_plain_words() -> None:
    assert notice.PLAY.keys() == tags.leaves(SCHEMAS["play"]).keys()
    inventory = taken(with_radio())
    assert notice.PROFILE.keys() == inventory.profile.keys()
    derived = {c.name for use in inventory.uses for c in use.columns if c.derived}
    assert notice.WORKED_OUT.keys() == derived
    held = {s.name for use in inventory.uses if not use.third_party for s in use.stores}
    assert notice.HELD.keys() == held


def test_a_field_without_words_is_called_what_its_doc_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notice, "PLAY", {})
    assert "Account of the person who listened | Replaced by a code." in listeners()


def test_the_notice_speaks_plainly() -> None:
    text = listeners(with_radio(FR=True)).lower()
    for word in ("pseudonym", "hmac", "epoch", "topic", "gate", "kafka", "schema", "null", "avro"):
        assert not re.search(rf"\b{word}", text), word
    sentences = re.split(r"[.:]\s", re.sub(r"\|.*\|", "", text))
    lengths = sorted(len(sentence.split()) for sentence in sentences)
    assert lengths[len(lengths) // 2] <= 14


def test_the_notice_says_who_receives_what_on_which_ground() -> None:
    without, with_ = listeners(), listeners(with_radio())
    assert "Nothing is passed on to other companies." in without
    assert "If you allow it, some of it is passed on to Radio Example." in with_
    assert "## Sharing with Radio Example" in with_
    assert "Kept to the day." in with_
    assert "Your plays are used for nothing that you have not allowed." in with_
    allowed = listeners(with_radio(FR=True))
    assert "Your plays are not used. Plays in FR are." in allowed
    assert "Your plays are used for nothing" not in allowed


def test_what_is_used_and_dropped_is_not_said_to_be_unseen() -> None:
    short = listeners().split("##")[0]
    assert "the title of the track" in short
    assert "private session" not in short
    assert "how long the track is" not in short


def test_the_version_follows_the_text() -> None:
    def version(text: str) -> str:
        found = re.search(r"Version of this notice: `([0-9a-f]{12})`", text)
        assert found is not None
        return found[1]

    texts = [listeners(), listeners(with_radio()), listeners(COMMITTED, "Example Ltd")]
    assert len({version(text) for text in texts}) == 3
    assert version(listeners()) == version(texts[0])


def test_the_record_has_what_article_30_asks_for() -> None:
    text = document.markdown(processing.document(taken(with_radio(FR=True)), "Example Ltd"))
    for part in (
        "Example Ltd.",
        "**Purpose**: sharing; `third_party_sharing`",
        "**Data subjects**: listeners",
        "**Categories of data**",
        "Radio Example, a third party",
        "denied; allowed in FR",
        "transfers to third countries",
        "**Time limits**: `shared.radio`: 7 days",
        "## Security measures",
    ):
        assert part in text, part


def test_the_manifest_uses_the_words_of_fides() -> None:
    manifest = json.loads(fides.manifest(taken(with_radio(FR=True))))
    declarations = [d for system in manifest["system"] for d in system["privacy_declarations"]]
    for declaration in declarations:
        assert declaration["data_use"] in FIDES_USES
        assert set(declaration["data_categories"]) <= FIDES_CATEGORIES
        assert set(declaration["data_subjects"]) <= FIDES_SUBJECTS
        assert declaration.get("legal_basis_for_processing", "Consent") in FIDES_BASES
    datasets = {dataset["fides_key"]: dataset for dataset in manifest["dataset"]}
    for system in manifest["system"]:
        assert set(system["dataset_references"]) <= datasets.keys()
    for dataset in datasets.values():
        for collection in dataset["collections"]:
            assert set(collection["data_categories"]) <= FIDES_CATEGORIES
            for field in collection["fields"]:
                assert set(field["data_categories"]) <= FIDES_CATEGORIES
    for key in ("fides_key", "name"):
        assert re.fullmatch(r"[\w .<>-]+", " ".join(each[key] for each in datasets.values()))
    radio = next(d for d in declarations if d["data_use"] == "third_party_sharing")
    assert radio["third_parties"] == "Radio Example"
    assert "legal_basis_for_processing" not in radio  # France allows it without consent


def test_every_treatment_has_plain_words() -> None:
    said = {notice._fate(Fate(each, (), (), (), ("a", "b"), "")) for each in ONE_OF_EACH}
    assert len(said) == len(ONE_OF_EACH) - 1  # both kinds of bucket leave a range
    assert notice._fate(Fate(TruncatePoint(1), ("l",), (), (), (), "")).endswith("about 11 km.")
    assert "dropped" in notice._fate(Fate(Drop(), (), ("skipped",), (), (), ""))


class Page(HTMLParser):
    """Text of a page, its tags, and whatever it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.references: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


SAMPLE = Document(
    HOSTILE,
    (
        Heading(HOSTILE),
        Paragraph(HOSTILE),
        Bullets((HOSTILE,)),
        Terms(((HOSTILE, HOSTILE),)),
        Table((HOSTILE, "b"), ((HOSTILE, "d"),)),
    ),
)


def test_html_is_one_page_that_shows_text_as_it_is() -> None:
    page = Page(document.html(SAMPLE))
    assert "script" not in page.tags
    assert page.references == []
    assert page.tags.count("code") == 8
    shown = "".join(page.texts)
    assert shown.count(HOSTILE.replace("`", "")) == 8  # the page's title has the backticks
    assert "@import" not in shown
    assert "url(" not in shown


def test_markdown_keeps_its_structure_whatever_the_text() -> None:
    lines = document.markdown(SAMPLE).splitlines()
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    assert bars == [3, 3, 3]
    assert sum("<script" in line.replace("\\<", "") for line in lines) == 0
    assert "\\[z\\]" in lines[0]


def test_json_has_every_block() -> None:
    parsed = json.loads(document.as_json(SAMPLE))
    kinds = [block["kind"] for block in parsed["blocks"]]
    assert kinds == ["heading", "paragraph", "bullets", "terms", "table"]


@pytest.mark.parametrize("reader", list(Reader))
def test_every_reader_has_a_text_and_a_hostile_recipient_changes_nothing(reader: Reader) -> None:
    rules = with_radio(HOSTILE)
    for form in Form:
        written = command.text(taken(rules), reader, form, None)
        if form is Form.JSON or reader is Reader.MACHINE:
            json.loads(written)
        elif form is Form.HTML:
            assert "<script" not in written
        else:
            assert "\\<script" in written


def test_the_command_says_whether_the_published_files_hold(tmp_path: Path) -> None:
    code, out, _ = run("notice", "--check", str(PUBLISHED), cwd=tmp_path)
    assert (code, "says what is enforced" in out) == (0, True)
    code, out, err = run("notice", "--check", str(tmp_path), cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "notice.md" in err
    assert run("notice", "--for", "machine", "--format", "html", cwd=tmp_path)[0] == 2

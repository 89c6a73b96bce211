"""The record of processing activities, for the privacy officer (GDPR, Article 30)."""

from __future__ import annotations

from collections.abc import Iterator

from streams.privacy.document import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Table,
    Terms,
)
from streams.privacy.inventory import LEGAL_USE, SERVICE_USE, Inventory, Use
from streams.privacy.stores import INTAKE, Store, union
from streams.topics import Zone

READERS = {
    Zone.RAW: "the gate",
    Zone.PSEUDONYMOUS: "taste and report",
    Zone.PUBLISHED: "the recipients",
    Zone.SHARED: "that recipient",
}


def document(inventory: Inventory, controller: str | None = None) -> Document:
    """The record. ``controller`` is who is responsible and how to reach them."""
    return Document("Record of processing activities", tuple(_blocks(inventory, controller)))


def _blocks(inventory: Inventory, controller: str | None) -> Iterator[Block]:
    yield Paragraph(
        "After Article 30 of the GDPR. Written from the schemas and the policy that the gate"
        " enforces; categories and uses are keys of the Fides taxonomy."
    )
    yield from _responsible(controller)
    yield Heading("Activities")
    for use in inventory.uses:
        yield from _activity(use)
    yield from _intake(inventory)
    yield from _rights(inventory)
    yield from _fields(inventory)
    yield from _columns(inventory)
    yield from _places(inventory)
    yield from _security(inventory)


def _responsible(controller: str | None) -> Iterator[Block]:
    yield Heading("Controller")
    if controller:
        yield Paragraph(f"{controller}.")
    yield Paragraph("What no schema or policy can know, and the controller has to add:")
    who = () if controller else ("name and contact of the controller (30(1)(a))",)
    yield Bullets(
        (
            *who,
            "joint controllers, representative and data protection officer, where there are any"
            " (30(1)(a))",
            "transfers to third countries and their safeguards (30(1)(e))",
            "the legal basis of every use that does not rest on consent",
            "the contract with each recipient, and how it erases",
            "backups of Kafka, the warehouse and the key, and how long they are kept",
        )
    )


def _activity(use: Use) -> Iterator[Block]:
    yield Heading(f"{use.description.rstrip('.')} (audience {use.audience})", 3)
    kind = "a third party" if use.third_party else "within the controller"
    yield Terms(
        (
            ("Purpose", f"{use.purpose}; `{use.data_use}`"),
            ("Data subjects", "listeners"),
            ("Categories of data", _codes(use.categories)),
            ("Recipients", f"{use.recipient}, {kind}"),
            ("Legal basis", _basis(use)),
            ("Without a decision", _undecided(use)),
            ("Time limits", _limits(use.stores)),
        )
    )


def _basis(use: Use) -> str:
    if use.by_consent:
        return "consent (Article 6(1)(a))"
    return "consent (Article 6(1)(a)); for those who have not decided, for the controller to state"


def _undecided(use: Use) -> str:
    words = {True: "allowed", False: "denied"}
    differing = [f"{words[allowed]} in {country}" for country, allowed in use.jurisdictions.items()]
    return "; ".join([words[use.undecided], *differing])


def _intake(inventory: Inventory) -> Iterator[Block]:
    stores = [store for store in inventory.raw if store.name in INTAKE]
    yield Heading("Taking in plays", 3)
    yield Terms(
        (
            ("Purpose", f"to prepare plays for the uses above; `{SERVICE_USE}`"),
            ("Data subjects", "listeners"),
            ("Categories of data", _codes(union(store.categories for store in stores))),
            ("Recipients", "none; the gate alone reads them"),
            ("Legal basis", "that of the uses above"),
            ("Time limits", _limits(stores)),
        )
    )


def _rights(inventory: Inventory) -> Iterator[Block]:
    raw = [store for store in inventory.raw if store.categories and store.name not in INTAKE]
    stores = [*raw, *inventory.requests]
    yield Heading("Consent, requests and receipts", 3)
    yield Terms(
        (
            ("Purpose", f"to obey listeners and to prove it; `{LEGAL_USE}`"),
            ("Data subjects", "listeners"),
            ("Categories of data", _codes(union(store.categories for store in stores))),
            ("Recipients", "none; stores learn pseudonyms, not accounts"),
            ("Legal basis", "legal obligation (Article 6(1)(c); Articles 7 and 15 to 21)"),
            ("Time limits", _limits(stores)),
        )
    )


def _fields(inventory: Inventory) -> Iterator[Block]:
    yield Heading("What becomes of each field of a play")
    yield Paragraph(
        "A record's key and headers are dropped. So is every field that a client sends and the"
        " schema does not know; it is counted and raises an alarm. In a private session nothing"
        " leaves the gate."
    )
    audiences = [use.audience for use in inventory.uses]
    yield Table(
        ("Field", "Tags", "Categories", *audiences),
        tuple(
            (
                f"`{field.path}`",
                _codes(field.tags),
                _codes(field.categories),
                *(field.fates[audience].words for audience in audiences),
            )
            for field in inventory.fields
        ),
    )


def _columns(inventory: Inventory) -> Iterator[Block]:
    yield Heading("What each audience gets")
    for use in inventory.uses:
        yield Heading(f"{use.audience}: `{use.stores[0].name}`", 3)
        yield Table(
            ("Field", "From", "Categories", "Meaning"),
            tuple(
                (
                    f"`{column.name}`",
                    _codes(column.reads) or "the record's processing",
                    _codes(column.categories),
                    column.doc,
                )
                for column in use.columns
            ),
        )


def _places(inventory: Inventory) -> Iterator[Block]:
    made = [store for use in inventory.uses for store in use.stores]
    yield Heading("Where data is, and for how long")
    yield Table(
        ("Place", "Zone", "Read by", "Holds", "Kept", "Personal data"),
        tuple(
            (
                f"`{store.name}`",
                str(store.zone),
                READERS[store.zone],
                store.holds,
                store.kept,
                _codes(store.categories) or "none",
            )
            for store in (*inventory.raw, *made, *inventory.requests)
        ),
    )
    yield Paragraph(
        "Kafka deletes whole segments: a record can outlive its time by as long as its segment was"
        " written to, hence two figures."
    )


def _security(inventory: Inventory) -> Iterator[Block]:
    yield Heading("Security measures, in general terms")
    yield Bullets(
        (
            "Pseudonyms are HMAC-SHA256 under keys derived (HKDF-SHA256) per audience and epoch."
            " Only the gate has them; two audiences cannot join theirs.",
            "Keys are rotated during a bounded overlap; what a destroyed epoch made cannot be"
            " computed again.",
            "A field without a treatment stops the program; a record that fits no plan is rejected"
            " whole and stays in the raw zone.",
            f"Published figures have at least {inventory.min_listeners} distinct listeners behind"
            " each, also against subtraction of one from another.",
            "An erasure removes state, profile and rows, and then rewrites the warehouse's file"
            f" within {inventory.rewrite_s:g} seconds; plays from before it are dropped whenever"
            " they come. Each request ends in a signed receipt.",
            "Each third party has a topic and pseudonyms of its own, and what went to it is on"
            " record, per person.",
            "Logs, metrics and errors carry no field values; showing a rejected record's payload is"
            " itself logged.",
        )
    )


def _limits(stores: tuple[Store, ...] | list[Store]) -> str:
    return "; ".join(f"`{store.name}`: {store.kept}" for store in stores)


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)

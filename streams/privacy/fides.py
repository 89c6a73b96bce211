"""The inventory as a Fides manifest: datasets and systems, in the words of its taxonomy.

Any tool that reads Fides manifests reads it. What Fides has no word for (what becomes of a field,
in which zone a store is, the rule of consent) stands beside, where such a tool looks past it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from streams.privacy.inventory import LEGAL_USE, SERVICE_USE, Field, Inventory, Use
from streams.privacy.stores import INTAKE, Categories, Store, union
from streams.topics import PLAYS

Json = dict[str, object]

SUBJECT = "customer"
"""The Fides data subject that listeners are."""
GATE = "sottovoce_gate"
RAW = "sottovoce_raw"


def manifest(inventory: Inventory) -> str:
    """The manifest, as JSON."""
    document: Json = {
        "dataset": [_raw(inventory), *map(_dataset, inventory.uses)],
        "system": [_gate(inventory), *map(_system, inventory.uses)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _raw(inventory: Inventory) -> Json:
    stores = (*inventory.raw, *inventory.requests)
    return {
        "fides_key": RAW,
        "name": "Raw zone and requests",
        "description": "Plays as clients send them, consent, requests and what came of them.",
        "collections": [
            _collection(store)
            | {"fields": [_field(field) for field in inventory.fields if store.name == PLAYS.name]}
            for store in stores
        ],
    }


def _field(field: Field) -> Json:
    return {
        "name": field.path,
        "description": field.doc,
        "data_categories": list(field.categories),
        "tags": list(field.tags),
        "treatments": {
            audience: {"do": fate.treatment.kind, "words": fate.words, "into": list(fate.into)}
            for audience, fate in field.fates.items()
        },
    }


def _dataset(use: Use) -> Json:
    output, *others = use.stores
    columns = [
        {
            "name": column.name,
            "description": column.doc,
            "data_categories": list(column.categories),
            "from": list(column.reads),
            "derived": column.derived,
        }
        for column in use.columns
    ]
    return {
        "fides_key": _key(use),
        "name": f"Audience {use.audience}",
        "description": use.description,
        "collections": [
            _collection(output) | {"fields": columns},
            *(_collection(store) | {"fields": []} for store in others),
        ],
    }


def _collection(store: Store) -> Json:
    return {
        "name": store.name,
        "description": store.holds,
        "data_categories": list(store.categories),
        "zone": str(store.zone),
        "kept": store.kept,
    }


def _gate(inventory: Inventory) -> Json:
    return {
        "fides_key": GATE,
        "name": "Gate",
        "description": "Prepares plays for each audience and obeys listeners' requests.",
        "system_type": "Service",
        "dataset_references": [RAW],
        "egress": [{"fides_key": _key(use), "type": "system"} for use in inventory.uses],
        "privacy_declarations": [
            {
                "name": "Taking in plays",
                "data_use": SERVICE_USE,
                "data_categories": list(union(field.categories for field in inventory.fields)),
                "data_subjects": [SUBJECT],
                "retention_period": _limits(s for s in inventory.raw if s.name in INTAKE),
            },
            {
                "name": "Consent, requests and receipts",
                "data_use": LEGAL_USE,
                "data_categories": list(_of_requests(inventory)),
                "data_subjects": [SUBJECT],
                "legal_basis_for_processing": "Legal obligations",
                "retention_period": _limits((*_asked(inventory), *inventory.requests)),
            },
        ],
    }


def _system(use: Use) -> Json:
    declaration: Json = {
        "name": use.description,
        "data_use": use.data_use,
        "data_categories": list(use.categories),
        "data_subjects": [SUBJECT],
        "retention_period": _limits(use.stores),
        "data_shared_with_third_parties": use.third_party,
    }
    if use.third_party:
        declaration |= {
            "third_parties": use.recipient,
            "shared_categories": list(use.categories),
        }
    if use.by_consent:
        declaration["legal_basis_for_processing"] = "Consent"
    return {
        "fides_key": _key(use),
        "name": use.recipient,
        "description": use.description,
        "system_type": "Service",
        "dataset_references": [_key(use)],
        "ingress": [{"fides_key": GATE, "type": "system"}],
        "privacy_declarations": [declaration],
        "meta": {
            "purpose": use.purpose,
            "undecided": use.undecided,
            "jurisdictions": dict(use.jurisdictions),
        },
    }


def _asked(inventory: Inventory) -> tuple[Store, ...]:
    """What the raw zone holds about persons beside their plays."""
    return tuple(s for s in inventory.raw if s.categories and s.name not in INTAKE)


def _of_requests(inventory: Inventory) -> Categories:
    return union(store.categories for store in (*_asked(inventory), *inventory.requests))


def _limits(stores: Iterable[Store]) -> str:
    return "; ".join(f"{store.name}: {store.kept}" for store in stores)


def _key(use: Use) -> str:
    return f"sottovoce_{use.audience}"

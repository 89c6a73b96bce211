"""The committed schemas and policy, with a third party, and the Fides taxonomy to hold them to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streams.avro import schemas as schema_files
from streams.privacy import inventory, policy
from streams.privacy.inventory import Inventory
from streams.privacy.policy import Audience, Policy
from streams.privacy.treatments import Drop, Keep, Pseudonymize, Treatment, TruncateTime
from streams.settings import Settings, load

SETTINGS: Settings = load()
SCHEMAS = schema_files.load(SETTINGS.schemas)
COMMITTED = policy.load(SETTINGS.policy)
RADIO = "radio"


def taken(rules: Policy = COMMITTED) -> Inventory:
    return inventory.take(SCHEMAS, rules, SETTINGS)


def treating(rules: Policy, audience: str, changes: Mapping[str, Treatment]) -> Policy:
    """The same policy with other treatments of some tags."""
    old = rules.audiences[audience]
    new = replace(old, treatments={**old.treatments, **changes})
    return replace(rules, audiences={**rules.audiences, audience: new})


def with_radio(recipient: str = "Radio Example", **jurisdictions: bool) -> Policy:
    """The committed policy and a third party that gets days, artists and genres."""
    treatments: dict[str, Treatment] = dict.fromkeys(
        COMMITTED.audiences["product"].treatments, Drop()
    )
    treatments |= {
        "USER_ID": Pseudonymize("hex"),
        "EVENT_TIME": TruncateTime("day"),
        "ARTIST": Keep(),
        "GENRE": Keep(),
    }
    radio = Audience("sharing", recipient, "Charts of what is heard.", treatments, True)
    consent = replace(
        COMMITTED.consent,
        jurisdictions={country: {"sharing": rule} for country, rule in jurisdictions.items()},
    )
    return replace(COMMITTED, audiences={**COMMITTED.audiences, RADIO: radio}, consent=consent)


# fideslang 3.1.4, `fideslang.default_taxonomy.DEFAULT_TAXONOMY`: the branches that can apply here.
FIDES_CATEGORIES = frozenset({
    "system", "system.authentication", "system.operations", "user", "user.account",
    "user.account.settings", "user.account.username", "user.behavior",
    "user.behavior.browsing_history", "user.behavior.media_consumption",
    "user.behavior.purchase_history", "user.behavior.search_history", "user.contact",
    "user.content", "user.content.private", "user.content.public", "user.content.self_image",
    "user.demographic", "user.demographic.language", "user.demographic.profile", "user.device",
    "user.device.cookie", "user.device.cookie_id", "user.device.device_id",
    "user.device.ip_address", "user.location", "user.location.imprecise", "user.location.precise",
    "user.name", "user.privacy_preferences", "user.sensor", "user.social", "user.telemetry",
    "user.unique_id", "user.unique_id.pseudonymous",
})  # fmt: skip
FIDES_USES = frozenset({
    "analytics", "analytics.reporting", "analytics.reporting.content_performance", "collect",
    "essential", "essential.legal_obligation", "essential.service", "essential.service.operations",
    "functional", "functional.service", "operations", "personalize", "personalize.content",
    "personalize.content.limited", "personalize.content.profiled", "personalize.content.profiling",
    "personalize.system", "third_party_sharing", "third_party_sharing.legal_obligation",
})  # fmt: skip
FIDES_SUBJECTS = frozenset({"anonymous_user", "customer", "visitor"})
FIDES_BASES = frozenset({"Consent", "Contract", "Legal obligations", "Legitimate interests"})

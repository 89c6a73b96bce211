"""Permissions: a plain rule applied play by play is the oracle."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.permission import Permissions, since
from streams.privacy.policy import PURPOSES, Consent
from streams.privacy.standing import Exclusion, Standing

SUBJECTS = ["a" * 32, "b" * 32, "c" * 32]
MOMENTS = st.integers(0, 12).map(lambda minute: minute * 60_000)
MAYBE_MOMENT = st.none() | MOMENTS
RULES = st.builds(
    Consent,
    st.fixed_dictionaries({purpose: st.booleans() for purpose in PURPOSES}),
    st.dictionaries(
        st.sampled_from(["DE", "US"]), st.dictionaries(st.sampled_from(PURPOSES), st.booleans())
    ),
)
PLAYS = st.lists(
    st.tuples(
        st.sampled_from([*SUBJECTS, "d" * 32]),
        MOMENTS,
        st.sampled_from(["x", "y"]),
        st.sampled_from([None, "DE", "US", "FR"]),
    ),
    max_size=20,
)


@dataclass(frozen=True)
class Decided:
    subject: str
    purpose: str
    since: int | None
    withdrawn: bool


DECISIONS = st.lists(
    st.builds(
        Decided, st.sampled_from(SUBJECTS), st.sampled_from(PURPOSES), MAYBE_MOMENT, st.booleans()
    )
)
STANDINGS = st.lists(
    st.builds(
        Standing,
        st.sampled_from(SUBJECTS),
        MAYBE_MOMENT,
        st.booleans(),
        st.lists(
            st.builds(Exclusion, st.sampled_from([None, "x"]), MAYBE_MOMENT, MAYBE_MOMENT),
            max_size=2,
        ).map(tuple),
    )
)


@given(RULES, DECISIONS, STANDINGS, PLAYS)
def test_masks_equal_the_rule_applied_play_by_play(
    rules: Consent,
    decisions: list[Decided],
    standings: list[Standing],
    plays: list[tuple[str, int, str, str | None]],
) -> None:
    permissions = Permissions(rules)
    for each in decisions:
        if each.withdrawn:
            permissions.withdrawn(each.subject, each.purpose)
        else:
            permissions.decided(each.subject, each.purpose, each.since)
    for standing in standings:
        permissions.note(standing)

    def allowed(play: tuple[str, int, str, str | None], purpose: str) -> bool:
        subject, started_at, artist, country = play
        of = [each for each in standings if each.subject == subject]
        if any(each.erased_before is not None and started_at < each.erased_before for each in of):
            return False
        if of and of[-1].restricted:
            return False
        if purpose == "personalization" and any(
            exclusion.covers(artist, started_at) for each in of for exclusion in each.exclusions
        ):
            return False
        latest = [e for e in decisions if (e.subject, e.purpose) == (subject, purpose)]
        if latest and not latest[-1].withdrawn:
            return latest[-1].since is not None and started_at >= latest[-1].since
        there = rules.jurisdictions.get(country or "", {})
        return there.get(purpose, rules.unknown[purpose])

    columns = {
        "subject": pl.String,
        "started_at": pl.Int64,
        "artist.name": pl.String,
        "location.country": pl.String,
    }
    masks = permissions.masks(pl.DataFrame(plays, schema=columns, orient="row"))
    for purpose in PURPOSES:
        assert masks[purpose].tolist() == [allowed(play, purpose) for play in plays]


def test_a_decision_holds_from_the_event_after_it() -> None:
    decision = {"granted": True, "decided_at": 1_000, "effective_from": None}
    assert since(decision) == 1_001
    assert since({**decision, "effective_from": 0}) == 0
    assert since({**decision, "granted": False}) is None

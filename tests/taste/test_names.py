from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste.names import Names


@given(st.lists(st.text(max_size=3)))
@settings(deadline=None)
def test_ids_lead_back_to_the_texts(texts: list[str]) -> None:
    names = Names()
    ids = names.ids(texts)
    assert names.texts(ids.tolist()) == texts
    assert names.capacity == len(set(texts))
    column = pl.Series(texts, dtype=pl.String)
    assert names.ids_of(column).tolist() == ids.tolist()


@given(st.sets(st.text(max_size=3)), st.data())
@settings(deadline=None)
def test_what_is_not_kept_gives_its_id_to_others(texts: set[str], data: st.DataObject) -> None:
    names = Names()
    ids = names.ids(sorted(texts))
    kept = [i for i in ids.tolist() if data.draw(st.booleans())]
    remaining = names.texts(kept)
    names.keep(np.array(kept, np.int64))
    assert sorted(names) == sorted(remaining)
    others = [f"other {n}" for n in range(len(ids) - len(kept))]
    assert set(names.ids(others).tolist()).isdisjoint(kept)
    assert names.capacity == len(ids)
    assert names.ids(remaining).tolist() == kept

"""The ledger against a plain recount of which prefix is finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.transport.ledger import OffsetLedger


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_commits_exactly_the_finished_prefix(sizes: list[int], random: object) -> None:
    ledger = OffsetLedger()
    tokens = [object() for _ in sizes]
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    for token, end in zip(tokens, ends, strict=True):
        ledger.deliver("plays/0", token, end)
    order = list(range(len(sizes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    finished: set[int] = set()
    for index in order:
        assert ledger.finish("plays/0", tokens[index])
        finished.add(index)
        prefix = 0
        while prefix in finished:
            prefix += 1
        assert ledger.committable("plays/0") == (ends[prefix - 1] if prefix else None)
        assert ledger.in_flight("plays/0") == len(sizes) - prefix


def test_a_batch_counts_once() -> None:
    ledger = OffsetLedger()
    first, second = object(), object()
    ledger.deliver("p", first, 10)
    ledger.deliver("p", second, 20)
    assert ledger.finish("p", second)
    assert not ledger.finish("p", second)
    assert ledger.committable("p") is None


def test_batches_from_before_a_rebalance_no_longer_move_the_offset() -> None:
    ledger = OffsetLedger()
    old, new = object(), object()
    ledger.deliver("p", old, 10)
    ledger.reset()
    ledger.deliver("p", new, 10)
    assert not ledger.finish("p", old)
    assert ledger.committable("p") is None
    assert ledger.finish("p", new)
    assert ledger.committable("p") == 10
    assert not ledger.finish("q", new)


def test_what_was_done_before_may_be_committed_at_once_and_goes_on_from_there() -> None:
    ledger = OffsetLedger()
    ledger.resume("a", 40)
    assert ledger.committable("a") == 40
    assert list(ledger) == ["a"]
    token = object()
    ledger.deliver("a", token, 50)
    assert ledger.committable("a") == 40
    assert ledger.finish("a", token)
    assert ledger.committable("a") == 50

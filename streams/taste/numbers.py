"""Whole numbers of very different sizes as bytes, and back, a million at a time.

A number takes as many bytes as it needs, lowest first, none for 0; how many, stands apart, in half
a byte each. So neither direction has to go from number to number (the idea of Stream VByte: Lemire,
Kurz, Rupp, "Stream VByte: Faster Byte-Oriented Integer Compression", Information Processing Letters
130, 2018).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.taste.decay import Ints
from streams.taste.rows import runs

Bytes = NDArray[np.uint8]
Sizes = NDArray[np.uint8]

_WIDEST: Final = 8
_LOWEST: Final = 1 << np.arange(8, 64, 8, dtype=np.uint64)
"""The lowest number of two bytes, of three, and so on."""
_MASKS: Final = np.concatenate([[0], (1 << np.arange(8, 64, 8)) - 1, [-1]])
"""The bits of a number of no byte, of one, and so on."""


def shrunk(numbers: Ints) -> tuple[Sizes, Bytes]:
    """How many bytes each number takes, and the bytes. Negative numbers take 8."""
    sizes = (numbers != 0).astype(np.uint8)
    for lowest in _LOWEST:
        sizes += numbers.view(np.uint64) >= lowest
    ends = np.cumsum(sizes, dtype=np.int64)
    data = np.empty(int(sizes.sum(dtype=np.int64)) + _WIDEST, np.uint8)
    _windows(data)[ends - sizes] = numbers  # in order: each covers what is too much of the last
    return sizes, data[:-_WIDEST]


def grown(sizes: Sizes, data: Bytes) -> Ints:
    """What `shrunk` was given.

    Raises:
        ValueError: a size is above 8, or there are not as many bytes as the sizes say.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    if sizes.max(initial=0) > _WIDEST or len(data) != ends[-1:].sum():
        raise ValueError("not as many bytes as the sizes say")
    wide = _windows(np.append(data, np.zeros(_WIDEST, np.uint8)))[ends - sizes]
    found: Ints = wide & _MASKS[sizes]
    return found


def _windows(data: Bytes) -> Ints:
    """The eight bytes from each byte on as a number."""
    return np.ndarray((len(data) - _WIDEST + 1,), "<i8", data, strides=(1,))


def paired(sizes: Sizes) -> Bytes:
    """An even number of sizes, two a byte."""
    pairs: Bytes = sizes[::2] | sizes[1::2] << np.uint8(4)
    return pairs


def unpaired(pairs: Bytes) -> Sizes:
    """What `paired` was given."""
    return np.stack((pairs & 0x0F, pairs >> 4), axis=1).ravel()


def places(counts: Ints) -> list[Ints]:
    """Where the numbers of several columns are, once each owner's are together: all of its first
    column, then of its second, and so on, owner by owner.

    Args:
        counts: how many numbers there are, shape (columns, owners).

    Returns:
        For each column the places of its numbers, which come owner by owner.
    """
    ends = np.cumsum(counts.T).reshape(counts.T.shape).T
    return [runs(until - its, its) for until, its in zip(ends, counts, strict=True)]

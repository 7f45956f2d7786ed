"""Mean attention of a head over many inputs: by position and by offset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Averages(NamedTuple):
    """What a head does on the inputs of a run, each pair of tokens counting once.

    Attributes:
        by_position: Mean weight of query position on key position, 0..1; NaN where no input has an allowed pair.
        position_counts: How many inputs each mean rests on.
        offsets: Query position less key position, ascending: 1 is the token before.
        by_offset: Mean weight over all allowed pairs of that offset, 0..1; NaN where there is none.
        offset_counts: How many pairs each mean rests on.
        farther: Share of all weight on pairs farther apart than the offsets, 0..1.
        n_inputs: How many inputs were averaged.
        longest: Tokens of the longest of them.
    """

    by_position: Float[np.ndarray, "query key"]
    position_counts: Int[np.ndarray, "query key"]
    offsets: Int[np.ndarray, " offset"]
    by_offset: Float[np.ndarray, " offset"]
    offset_counts: Int[np.ndarray, " offset"]
    farther: float
    n_inputs: int
    longest: int


def average_attention(
    maps: Iterable[
        tuple[Float[np.ndarray, "_query _key"], Bool[np.ndarray, "_query _key"]]
        | Iterable[tuple[int, Float[np.ndarray, "_query _key"], Bool[np.ndarray, "_query _key"]]]
    ],
    n_positions: int = 64,
    n_offsets: int = 64,
) -> Averages:
    """Mean weight by position and by offset over inputs of any lengths.

    Args:
        maps: For each input the weights of one head, 0..1, and True where the query may attend to the key. One input
            is held at a time; of a long one windows of queries may come instead, each with the position of its first.
        n_positions: Positions 0 to this less one get a mean of their own.
        n_offsets: Offsets from minus this to this get a mean of their own; what is farther goes to `farther`.

    Returns:
        The means. A high value at offset 1 is a head that follows the previous token; one in column 0 a head that
        looks at the first token.

    Raises:
        ValueError: No input came.
    """
    size = n_positions
    total, counts = np.zeros((size, size)), np.zeros((size, size), dtype=np.int64)
    offsets = np.arange(-n_offsets, n_offsets + 1)
    offset_total, offset_counts = np.zeros(len(offsets)), np.zeros(len(offsets), dtype=np.int64)
    n_inputs, longest, everything = 0, 0, 0.0
    for one in maps:
        n_inputs += 1
        for first, attention, allowed in [(0, *one)] if isinstance(one, tuple) else one:
            end, n_keys = first + len(attention), attention.shape[1]
            longest = max(longest, end, n_keys)
            n, m = max(min(end, size) - first, 0), min(n_keys, size)
            total[first : first + n, :m] += np.where(allowed[:n, :m], attention[:n, :m], 0)
            counts[first : first + n, :m] += allowed[:n, :m]
            everything += float(attention.sum(dtype=np.float64))
            for place, offset in enumerate(offsets):
                if offset < end and first - offset < n_keys:
                    # A row of a window is the query so many places further on.
                    diagonal = np.diagonal(allowed, offset=first - offset)
                    offset_counts[place] += np.count_nonzero(diagonal)
                    weights = np.diagonal(attention, offset=first - offset)
                    offset_total[place] += weights.sum(where=diagonal, dtype=np.float64)
    if n_inputs == 0:
        raise ValueError("average_attention got no input; at least one is needed.")
    shown = min(longest, size)
    return Averages(
        by_position=_mean(total, counts)[:shown, :shown],
        position_counts=counts[:shown, :shown],
        offsets=offsets,
        by_offset=_mean(offset_total, offset_counts),
        offset_counts=offset_counts,
        farther=max(0.0, 1 - float(offset_total.sum()) / everything) if everything > 0 else 0.0,
        n_inputs=n_inputs,
        longest=longest,
    )


def sample_inputs(
    lengths: Int[np.ndarray, " input"], most_inputs: int = 300, most_pairs: int = 12_000_000, seed: int = 0
) -> Int[np.ndarray, " chosen"]:
    """Which inputs to average so that the work is bounded: all of them where they are few and short.

    Args:
        lengths: Tokens of every input.
        most_inputs: At most so many are chosen.
        most_pairs: Chosen inputs have at most so many pairs of tokens in all; the first one is taken whatever its size.
        seed: Of the order in which they are drawn.

    Returns:
        Places in `lengths`, ascending.
    """
    drawn = np.random.default_rng(seed).permutation(len(lengths))[:most_inputs]
    pairs = np.cumsum(lengths[drawn].astype(np.int64) ** 2)
    if pairs.size and len(lengths) <= most_inputs and pairs[-1] <= most_pairs:
        return np.arange(len(lengths))
    return np.sort(drawn[: max(1, int(np.searchsorted(pairs, most_pairs, side="right")))])


def _mean(total: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)

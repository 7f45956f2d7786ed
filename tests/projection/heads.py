"""Made-up heads with known answers."""

import numpy as np

from analysis.attention import recompute
from analysis.projection.problem import HeadProblem
from analysis.types import Band


def random_head(lengths=(12, 9, 15), d_head=8, seed=0, band=None, sharpness=1.0, special_first=True) -> HeadProblem:
    """Gaussian queries and keys, and the attention they give."""
    random = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    queries, keys = random.normal(size=(2, starts[-1], d_head)).astype(np.float32) * np.float32(sharpness)
    allowed = [(band or Band()).allowed(length) for length in lengths]
    scale = d_head**-0.5
    attention = [
        recompute(queries[None, a:b], keys[None, a:b], mask, scale)[0]
        for a, b, mask in zip(starts[:-1], starts[1:], allowed)
    ]
    special = np.zeros(starts[-1], dtype=bool)
    if special_first:
        special[starts[:-1]] = True
    return HeadProblem(queries, keys, scale, starts, attention, allowed, special)


def given_attention(*matrices, allowed=None, d_head=4, special=None) -> HeadProblem:
    """A problem with the attention written out; queries and keys are random."""
    lengths = [len(matrix) for matrix in matrices]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    queries, keys = np.random.default_rng(0).normal(size=(2, starts[-1], d_head)).astype(np.float32)
    attention = [np.asarray(matrix, dtype=np.float32) for matrix in matrices]
    masks = allowed or [np.ones(matrix.shape, dtype=bool) for matrix in attention]
    special = np.zeros(starts[-1], dtype=bool) if special is None else np.asarray(special)
    return HeadProblem(queries, keys, d_head**-0.5, starts, attention, masks, special)


def cross_head(n_queries=(12, 9, 15), n_keys=(7, 14, 5), d_head=8, seed=0, sharpness=1.0) -> HeadProblem:
    """Gaussian queries of some tokens, keys of others, and the attention they give; the first key of each input is
    special, the last query of each too."""
    random = np.random.default_rng(seed)
    starts, key_starts = (np.concatenate([[0], np.cumsum(lengths)]) for lengths in (n_queries, n_keys))
    queries, keys = (
        random.normal(size=(bounds[-1], d_head)).astype(np.float32) * np.float32(sharpness)
        for bounds in (starts, key_starts)
    )
    allowed = [np.ones(shape, dtype=bool) for shape in zip(n_queries, n_keys)]
    scale = d_head**-0.5
    attention = [
        recompute(queries[None, a : a + len(mask)], keys[None, b : b + mask.shape[1]], mask, scale)[0]
        for a, b, mask in zip(starts, key_starts, allowed)
    ]
    special, special_queries = np.zeros(key_starts[-1], dtype=bool), np.zeros(starts[-1], dtype=bool)
    special[key_starts[:-1]] = special_queries[starts[1:] - 1] = True
    return HeadProblem(
        queries, keys, scale, starts, attention, allowed, special,
        key_starts=key_starts, special_queries=special_queries,
    )  # fmt: skip

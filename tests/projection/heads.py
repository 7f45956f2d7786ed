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

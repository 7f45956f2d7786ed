"""`linear`: two matrices, one for queries and one for keys, that read the attention off the distance at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from analysis.projection import projection
from analysis.projection.problem import HeadProblem, Layout, Pairs, bounds_of, rows_of

TRAINING_TOKENS = 1500
"""About this many tokens, of evenly spaced inputs, train the two matrices: a few hundred numbers need no more, and
steps are worth more than tokens.

Ten heads of the MiniLM with 5,007 tokens, mean KL explained over all of them: 40 steps of rate 0.05 on everything
.65 (one head in two had not arrived); 120 steps of rate 0.15, falling to zero, on 1,700 tokens .80 at the same cost;
400 steps on everything .82.
"""


@projection("linear", description="Two matrices trained on the attention: instant, and new tokens can be added.")
def linear(problem: HeadProblem, dims: int, seed: int, steps: int = 120, rate: float = 0.15) -> Layout:
    """Linear maps of queries and keys whose softmax of -d^2 is nearest to the attention inside each input.

    The start is the best map of `dims` dimensions of all scores at once (the leading singular directions of the
    score matrix); Adam then lowers the cross-entropy of the attention rows in the whitened coordinates. No random
    number is drawn: the seed changes nothing.

    Args:
        problem: The head.
        dims: 2 or 3.
        seed: Recorded only.
        steps: Adam steps, on a part of the inputs (`TRAINING_TOKENS`).
        rate: Adam's first step in units of the whitened coordinates; it falls to zero in a straight line.

    Returns:
        A layout whose parameters hold ``query_matrix`` and ``key_matrix`` (``d_head`` x dims) with
        ``query_origin`` and ``key_origin``; `place` maps new tokens with them.
    """
    query_mean, query_basis, queries = whitened(problem.queries)
    key_mean, key_basis, keys = whitened(problem.keys)
    turn_q, turn_k = leading_directions(query_basis, key_basis, problem.scale, dims)
    turn_q, turn_k, offset = trained(problem, queries, keys, turn_q, turn_k, steps, rate)
    to_whitened_q, to_whitened_k = np.linalg.pinv(query_basis), np.linalg.pinv(key_basis)
    parameters = {
        "steps": steps,
        "rate": rate,
        "seed": seed,
        "query_matrix": (to_whitened_q @ turn_q).tolist(),
        "key_matrix": (to_whitened_k @ turn_k).tolist(),
        "query_origin": query_mean.tolist(),
        "key_origin": key_mean.tolist(),
        "key_offset": offset.tolist(),
        "reading": {"power": 0, "sigma": 1.0},
    }
    return Layout(place(parameters, problem.queries, "query"), place(parameters, problem.keys, "key"), parameters)


def place(
    parameters: dict[str, Any], vectors: Float[np.ndarray, "point d_head"], kind: str
) -> Float32[np.ndarray, "point dims"]:
    """Where new tokens lie in an existing `linear` map.

    Args:
        parameters: Those of the layout.
        vectors: Their queries or keys in the same head.
        kind: ``"query"`` or ``"key"``.
    """
    matrix = np.asarray(parameters[f"{kind}_matrix"])
    places = (vectors.astype(np.float64) - np.asarray(parameters[f"{kind}_origin"])) @ matrix
    if kind == "key":
        places = places + np.asarray(parameters["key_offset"])
    return places.astype(np.float32)


def whitened(vectors: Float[np.ndarray, "point d_head"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors as ``mean + coordinates @ basis`` with coordinates of unit variance.

    Returns:
        mean ``[d_head]``, basis ``[rank, d_head]``, coordinates ``[point, rank]``; rank is 1 at least, with zero
        coordinates when all vectors are equal.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors.astype(np.float64) - mean
    values, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
    spread = np.sqrt(np.maximum(values, 0))
    kept = spread > 1e-5 * max(spread.max(), 1e-12)
    if not kept.any():
        return mean, np.zeros((1, vectors.shape[1])), np.zeros((len(vectors), 1))
    basis = axes.T[kept] * spread[kept, None]
    return mean, basis, centred @ (axes[:, kept] / spread[kept])


def leading_directions(query_basis: np.ndarray, key_basis: np.ndarray, scale: float, dims: int) -> tuple:
    """The two maps ``[rank, dims]`` of whitened coordinates whose products 2 x·y are nearest to all scores."""
    left, strength, right = np.linalg.svd(query_basis @ key_basis.T * (scale / 2))
    n_kept = min(dims, len(strength))
    turn_q, turn_k = np.zeros((len(query_basis), dims)), np.zeros((len(key_basis), dims))
    sign = np.where(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])] < 0, -1, 1)[:n_kept]
    turn_q[:, :n_kept] = left[:, :n_kept] * np.sqrt(strength[:n_kept]) * sign
    turn_k[:, :n_kept] = right[:n_kept].T * np.sqrt(strength[:n_kept]) * sign
    return turn_q, turn_k


def training_part(problem: HeadProblem, n_tokens: int = TRAINING_TOKENS) -> tuple[np.ndarray, np.ndarray, Pairs]:
    """Whole inputs with about `n_tokens` queries, evenly spaced over the run: rows of their queries and of their keys,
    and their pairs renumbered."""
    pairs, starts, key_starts = problem.pairs, problem.starts, problem.bounds_of_keys
    n_inputs = len(starts) - 1
    n_chosen = max(round(n_inputs * min(n_tokens / max(problem.n_points, 1), 1.0)), 1)
    if n_chosen >= n_inputs:
        return np.arange(problem.n_points), np.arange(len(problem.keys)), pairs
    chosen = np.linspace(0, n_inputs - 1, n_chosen).round().astype(int)
    rows, key_rows = rows_of(starts, chosen), rows_of(key_starts, chosen)
    moved = np.repeat(key_starts[chosen] - bounds_of(key_starts, chosen)[:-1], np.diff(starts)[chosen])
    part = pairs._replace(
        first=np.maximum(pairs.first[rows] - moved, 0), length=pairs.length[rows], offset=pairs.offset[rows],
        n_allowed=pairs.n_allowed[rows],
    )  # fmt: skip
    return rows, key_rows, part


def trained(
    problem: HeadProblem, queries: np.ndarray, keys: np.ndarray, turn_q: np.ndarray, turn_k: np.ndarray,
    steps: int, rate: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Adam on both maps and on the place of the mean key, from the given start; returns all three."""
    from analysis.projection.kernels.forces import softmax_pull

    rows, key_rows, pairs = training_part(problem)
    queries, keys = queries[rows].T.astype(np.float32), keys[key_rows].T
    keys = np.vstack([keys, np.ones(len(key_rows))]).astype(np.float32)
    turns = [turn_q.T.astype(np.float32), np.hstack([turn_k.T, np.zeros((turn_k.shape[1], 1))]).astype(np.float32)]
    moments = [[np.zeros_like(turn), np.zeros_like(turn)] for turn in turns]
    pulls = [np.empty((len(turns[0]), len(of_kind)), dtype=np.float32) for of_kind in (rows, key_rows)]
    n_rows = max(int((pairs.n_allowed > 1).sum()), 1)
    for step in range(1, steps + 1):
        places = [np.ascontiguousarray(turn @ vectors) for turn, vectors in zip(turns, (queries, keys))]
        softmax_pull(*places, pairs.first, pairs.length, pairs.offset, pairs.target, *pulls)
        for turn, pull, vectors, (mean, square) in zip(turns, pulls, (queries, keys), moments):
            gradient = pull @ vectors.T / n_rows
            mean += 0.1 * (gradient - mean)
            square += 0.02 * (gradient**2 - square)
            reach = rate * (1 - (step - 1) / steps)
            turn -= reach * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.98**step)) + 1e-8)
    return turns[0].T, turns[1][:, :-1].T, turns[1][:, -1]

"""A map of very many tokens: fit a sample, place the rest beside it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from analysis.projection.linear import place
from analysis.projection.problem import HeadProblem, Layout

N_BESIDE = 3
"""Fitted neighbours that say where another point lies."""


def stratified_rows(problem: HeadProblem, n_kept: int, seed: int) -> Int[np.ndarray, " kept"]:
    """A seeded sample of tokens with the same share of every input, special tokens always among them.

    Special tokens hold the sinks: without them attention would be another one. Depends on the inputs and the seed
    only, so that all heads of a run have one sample.

    Args:
        problem: The head.
        n_kept: Tokens to keep, about; special tokens may make it more.
        seed: Of the sample.

    Returns:
        Row numbers, rising.
    """
    random = np.random.default_rng([seed, 2])
    share = min(n_kept / problem.n_points, 1.0)
    rows = []
    for start, end in pairwise(problem.starts):
        special = start + np.flatnonzero(problem.is_special[start:end])
        content = start + np.flatnonzero(~problem.is_special[start:end])
        exact = max(share * (end - start) - len(special), 0.0)
        n_content = min(int(exact) + int(random.random() < exact % 1), len(content))
        rows.append(np.sort(np.concatenate([special, random.permutation(content)[:n_content]])))
    return np.concatenate(rows).astype(np.int64)


def part_of(problem: HeadProblem, rows: Int[np.ndarray, " kept"]) -> HeadProblem:
    """The problem of some tokens only.

    Attention over fewer keys, rescaled, is exactly the softmax over those keys: nothing is invented.
    """
    starts = np.searchsorted(rows, problem.starts)
    attention, allowed = [], []
    for index, (begin, end) in enumerate(pairwise(starts)):
        local = rows[begin:end] - problem.starts[index]
        attention.append(problem.attention[index][np.ix_(local, local)])
        allowed.append(problem.allowed[index][np.ix_(local, local)])
    return replace(
        problem, queries=problem.queries[rows], keys=problem.keys[rows], starts=starts, attention=attention,
        allowed=allowed, is_special=problem.is_special[rows],
    )  # fmt: skip


def placed_beside(problem: HeadProblem, rows: Int[np.ndarray, " kept"], fitted: Layout) -> Layout:
    """All points of the problem: the fitted ones where they are, the others beside their nearest fitted neighbours.

    A linear map places them exactly, by its matrices. Otherwise a query (key) lies at the mean of the places of its
    three nearest fitted queries (keys), weighted by ``1 / distance^2``.
    """
    exact = "query_matrix" in fitted.parameters
    others = np.setdiff1d(np.arange(problem.n_points), rows)
    places = {}
    for kind, vectors, anchors in (("query", problem.queries, fitted.queries), ("key", problem.keys, fitted.keys)):
        full = np.empty((problem.n_points, anchors.shape[1]), dtype=np.float32)
        full[rows] = anchors
        full[others] = place(fitted.parameters, vectors[others], kind) if exact else beside(
            vectors[others], vectors[rows], anchors
        )  # fmt: skip
        places[kind] = full
    counts = {"n_fitted": len(rows), "n_placed": problem.n_points - len(rows)}
    return Layout(places["query"], places["key"], {**fitted.parameters, **counts})


def neighbours_in_sample(
    problem: HeadProblem, part: HeadProblem, rows: Int[np.ndarray, " kept"]
) -> tuple[Int[np.ndarray, "point neighbour"], Int[np.ndarray, "point neighbour"]]:
    """For each query, and for each key, the nearest ones of the sample, as rows of the whole problem."""
    from analysis.projection.kernels.neighbours import nearest

    others = np.setdiff1d(np.arange(problem.n_points), rows)
    found = []
    for vectors, own in ((problem.queries, part.query_neighbours), (problem.keys, part.key_neighbours)):
        near = np.empty((problem.n_points, own.shape[1]), dtype=np.int32)
        near[rows] = rows[own]
        near[others] = rows[nearest(vectors[others], own.shape[1], among=vectors[rows])]
        found.append(near)
    return found[0], found[1]


def beside(
    vectors: Float[np.ndarray, "other d_head"],
    fitted: Float[np.ndarray, "fitted d_head"],
    anchors: Float[np.ndarray, "fitted dims"],
) -> Float[np.ndarray, "other dims"]:
    """The weighted mean of the places of the nearest fitted vectors."""
    from analysis.projection.kernels.neighbours import nearest

    near = nearest(vectors, min(N_BESIDE, len(fitted)), among=fitted)
    squares = ((vectors[:, None, :].astype(np.float64) - fitted[near]) ** 2).sum(axis=2)
    weights = 1 / np.maximum(squares, 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("pn,pnd->pd", weights, anchors[near]).astype(np.float32)

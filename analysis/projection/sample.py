"""A map of very many tokens: fit a sample of the inputs, place the other inputs beside it, block by block."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from analysis.projection.linear import place
from analysis.projection.problem import HeadProblem, Layout

N_BESIDE = 3
"""Fitted neighbours that say where another point lies."""


def blocks_of_inputs(
    starts: Int[np.ndarray, " boundary"], max_tokens: int, seed: int
) -> list[Int[np.ndarray, " input"]]:
    """A seeded division of the inputs into as few blocks as keep to `max_tokens`, all with about as many tokens.

    Whole inputs, because attention never leaves an input: a block is a run of its own, read and laid out alone, and
    each is as good a sample of the inputs as the others. Depends on the inputs and the seed only, so that all heads
    of a run have the same blocks.

    Args:
        starts: Row at which each input begins, and the number of rows at the end.
        max_tokens: Tokens of a block, exceeded by half an input at most.
        seed: Of the division.

    Returns:
        Input numbers, rising within a block. Every input is in one block, no block is empty.
    """
    lengths = np.diff(starts)
    total = max(int(lengths.sum()), 1)
    n_blocks = -(-total // max_tokens)
    order = np.random.default_rng([seed, 2]).permutation(len(lengths))
    middles = np.cumsum(lengths[order]) - lengths[order] / 2
    block = np.minimum(middles * n_blocks / total, n_blocks - 1).astype(int)
    return [np.sort(order[block == number]) for number in np.unique(block)]


def placed_beside(problem: HeadProblem, sample: HeadProblem, fitted: Layout) -> Layout:
    """The points of other inputs of the same head, beside their nearest fitted neighbours.

    A linear map places them exactly, by its matrices. Otherwise a query (key) lies at the mean of the places of its
    three nearest fitted queries (keys), weighted by ``1 / distance^2``.
    """
    return Layout(
        points_beside(fitted, problem.queries, sample.queries, fitted.queries, "query"),
        points_beside(fitted, problem.keys, sample.keys, fitted.keys, "key"),
        fitted.parameters,
    )


def points_beside(
    fitted: Layout,
    vectors: Float[np.ndarray, "other d_head"],
    own: Float[np.ndarray, "fitted d_head"],
    anchors: Float[np.ndarray, "fitted dims"],
    kind: str,
) -> Float[np.ndarray, "other dims"]:
    """Where other queries (``kind`` is ``query``) or keys (``key``) lie in a fitted map; see `placed_beside`.

    Args:
        fitted: The map.
        vectors: Of the others.
        own: Of those that were fitted.
        anchors: Their places.
        kind: ``query`` or ``key``.
    """
    if f"{kind}_matrix" in fitted.parameters:
        return place(fitted.parameters, vectors, kind)
    return beside(vectors, own, anchors)


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

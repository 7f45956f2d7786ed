"""What is kept of the residual state of every token: how long it is, where it points, and what the MLP added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from analysis.types import BatchStates

N_DIMS = 2
"""Dimensions of the primary sink's state that count as massive in each layer: as many as the published models have."""

MEASURES = ("norm", "cosine", "peak_ratio", "peak_dim", "massive_ratio", "mlp_norm", "mlp_cosine")
"""Per token and layer; `state_figures` says what each is. All but the last two have a row more: behind the last."""


def primary_of(received: Float[np.ndarray, "head key"], n_queries: Int[np.ndarray, " key"], min_queries: int) -> int:
    """The primary sink of one input in one tower: the token that receives most attention from other tokens.

    Args:
        received: `Received.others`, of all heads of all layers of the tower.
        n_queries: Other queries that see each key.
        min_queries: Tokens that fewer queries see are passed over, where there are others.

    Returns:
        Its position; the first of equal ones.

    Source: "On the Existence and Behaviour of Secondary Attention Sinks" takes BOS, or the first token of largest norm.
        Ours: found by attention, so that it holds where no token has a large norm, as in models that normalise behind
        each block.
    """
    able = n_queries >= min(min_queries, int(n_queries.max(initial=0)))
    return int(np.argmax(np.where(able, np.nan_to_num(received).mean(axis=0), -1.0)))


def state_figures(batch: BatchStates, primaries: Sequence[int]) -> dict[str, Float[np.ndarray, "layer input token"]]:
    """Figures of the states of a batch, padding included.

    Args:
        batch: Its states.
        primaries: Position of the primary sink of each input.

    Returns:
        By measure: ``norm`` (Euclidean); ``cosine`` to the state of the primary sink in the same layer, -1..1;
        ``peak_ratio``, the largest absolute value over the root mean square of the state, 1..sqrt(d_model), and
        ``peak_dim``, the dimension it is in; ``massive_ratio``, the largest absolute value in the primary sink's own
        massive dimensions (its `N_DIMS` largest in that layer) over the root mean square: phi of the visual-sink study;
        ``mlp_norm``, and ``mlp_cosine`` of what the MLP adds to the primary sink's state behind the block.

    Source: cosine, MLP norm and MLP cosine: "On the Existence and Behaviour of Secondary Attention Sinks". phi: "See
        What You Are Told: Visual Attention Sink in Large Multimodal Models", with dimensions found instead of listed,
        and in every layer by itself. Massive dimensions by size over the root mean square: Sun et al. (2024), "Massive
        Activations in Large Language Models".
    """
    rows, primaries = np.arange(len(primaries)), np.asarray(primaries)
    layers: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    for place, states in enumerate(batch.states):
        of_primary = states[rows, primaries]
        norm = _norm(states)
        rms = np.maximum(norm / np.sqrt(np.float32(states.shape[-1])), np.float32(1e-30))
        layers["norm"].append(norm)
        layers["cosine"].append(_cosine(states, norm, of_primary))
        peak, where = _peak(states)
        layers["peak_ratio"].append(peak / rms)
        layers["peak_dim"].append(where.astype(np.float32))
        dims = np.argsort(-np.abs(of_primary), axis=1, kind="stable")[:, :N_DIMS]
        massive = np.abs(np.take_along_axis(states, dims[:, None, :], axis=2)).max(axis=2)
        layers["massive_ratio"].append(massive / rms)
        if batch.mlp_outputs is not None and place:
            added = batch.mlp_outputs[place - 1]
            length = _norm(added)
            layers["mlp_norm"].append(length)
            layers["mlp_cosine"].append(_cosine(added, length, of_primary))
    return {name: np.stack(values).astype(np.float32) for name, values in layers.items() if values}


def _norm(vectors: Float[np.ndarray, "input token d_model"]) -> Float[np.ndarray, "input token"]:
    return np.sqrt(np.einsum("btd,btd->bt", vectors, vectors))


def _cosine(
    vectors: Float[np.ndarray, "input token d_model"],
    norm: Float[np.ndarray, "input token"],
    direction: Float[np.ndarray, "input d_model"],
) -> Float[np.ndarray, "input token"]:
    dots = np.matmul(vectors, direction[:, :, None])[..., 0]
    size = norm * np.linalg.norm(direction, axis=1)[:, None]
    return np.clip(dots / np.maximum(size, 1e-30), -1, 1)


def _peak(
    vectors: Float[np.ndarray, "input token d_model"],
) -> tuple[Float[np.ndarray, "input token"], Int[np.ndarray, "input token"]]:
    """The largest absolute value and its dimension: by two maxima, without a copy of all absolute values."""
    high, low = vectors.argmax(axis=-1), vectors.argmin(axis=-1)
    largest = np.take_along_axis(vectors, high[..., None], -1)[..., 0]
    smallest = -np.take_along_axis(vectors, low[..., None], -1)[..., 0]
    return np.maximum(largest, smallest), np.where(largest >= smallest, high, low)

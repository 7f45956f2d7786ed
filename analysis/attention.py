"""Attention from queries and keys, in numpy: the one formula the store, the metrics and the tests share."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from analysis.types import Site


def recompute(
    queries: Float[np.ndarray, "head query d_head"],
    keys: Float[np.ndarray, "kv_head key d_head"],
    allowed: Bool[np.ndarray, "query key"],
    scale: float,
    softcap: float | None = None,
    sink_logits: Float[np.ndarray, " head"] | None = None,
) -> Float[np.ndarray, "head query key"]:
    """Softmax attention of every head of one site on one input.

    Args:
        queries: After rotary embedding.
        keys: After rotary embedding; fewer heads than `queries` when queries share keys.
        allowed: True where the query may attend to the key.
        scale: Factor on q·k.
        softcap: ``c`` of ``c * tanh(score / c)``, applied before the mask (Gemma 2).
        sink_logits: One learned logit per head that joins the softmax and is then dropped (gpt-oss).

    Returns:
        Weights in 0..1, float32. Rows sum to 1; to less than 1 with `sink_logits`, the rest being the sink's mass;
        to 0 where a query may attend to nothing.
    """
    repeats = queries.shape[0] // keys.shape[0]
    keys = np.repeat(keys, repeats, axis=0) if repeats > 1 else keys
    # Everything below works in place: at 3,000 tokens one head's weights are 36 MB.
    weights = np.matmul(queries.astype(np.float32), keys.astype(np.float32).transpose(0, 2, 1))
    weights *= np.float32(scale)
    if softcap is not None:
        weights /= np.float32(softcap)
        np.tanh(weights, out=weights)
        weights *= np.float32(softcap)
    if not allowed.all():
        np.copyto(weights, np.float32(-np.inf), where=~allowed)
    top = weights.max(axis=-1, keepdims=True)
    if sink_logits is not None:
        top = np.maximum(top, sink_logits[:, None, None].astype(np.float32))
    weights -= np.where(np.isfinite(top), top, np.float32(0))
    np.exp(weights, out=weights)
    total = weights.sum(axis=-1, keepdims=True)
    if sink_logits is not None:
        total += np.exp(sink_logits[:, None, None].astype(np.float32) - top)
    weights /= np.where(total == 0, np.float32(1), total)
    return weights


def shares_of(site: Site, weights: Float[np.ndarray, "*lead query key"]) -> Float[np.ndarray, "*lead query key"]:
    """Attention as measures take it: weights in 0..1 whose rows sum to 1 at most.

    Those of a softmax are that already. Of signed ones (`Site.is_signed`) it is the absolute value, each row divided by
    its sum: how much of what a token takes in comes from each token, whichever way it pushes. Ours.

    Args:
        weights: Of some heads of the site; not changed.
    """
    if not site.is_signed:
        return weights
    size = np.abs(weights)
    total = size.sum(axis=-1, keepdims=True)
    return (size / np.where(total > 0, total, np.float32(1))).astype(np.float32, copy=False)


def score_parts(
    queries: Float[np.ndarray, "query d_head"],
    keys: Float[np.ndarray, "key d_head"],
    weights: Float[np.ndarray, "query key"],
    allowed: Bool[np.ndarray, "query key"],
    scale: float,
    softcap: float | None = None,
) -> tuple[Float[np.ndarray, "query key"], Float[np.ndarray, "query key"]]:
    """What content and position would each attend to alone, where a position bias is added to the scores.

    A weight is exp(content score + position score) over the row's sum: the content score is the scaled q·k, so the
    softmax of it is one part, and the weights over its exponential, brought to sum 1 again, are the other.

    Args:
        queries: Of one head on one input.
        keys: A constant may have been taken from all of them.
        weights: Attention of that head on that input.

    Returns:
        Content and position part, float32, in 0..1; rows sum to 1 each, to 0 where a query may attend to nothing. The
        position part is 0 where the weight is: its score cannot be told from a weight that was rounded to nothing.
    """
    content = queries.astype(np.float64) @ keys.astype(np.float64).T * scale
    if softcap is not None:
        content = softcap * np.tanh(content / softcap)
    with np.errstate(divide="ignore"):
        position = np.log(np.where(allowed, weights, 0.0).astype(np.float64)) - content
    return _softmax(np.where(allowed, content, -np.inf)), _softmax(position)


def _softmax(scores: Float[np.ndarray, "query key"]) -> Float[np.ndarray, "query key"]:
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    parts = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = parts.sum(axis=-1, keepdims=True)
    return (parts / np.where(total == 0, 1.0, total)).astype(np.float32)

"""How much attention every token receives: the sink score of each token in each head, computed while it is captured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Received(NamedTuple):
    """Mean attention each token of one input receives from the queries that see it, 0..1, fp32.

    Attributes:
        attention: Its own query counted: the sink score alpha of Gu et al. (2024).
        others: Its own query left out; NaN where no other query sees the token.
    """

    attention: Float[np.ndarray, "head key"]
    others: Float[np.ndarray, "head key"]


def attention_received(
    attention: Float[np.ndarray, "input head query key"],
    allowed: Bool[np.ndarray, "input query key"],
    is_cross: bool = False,
) -> tuple[Float[np.ndarray, "input head key"], Float[np.ndarray, "input head key"]]:
    """The sink score of every token of a batch, own query counted and not.

    Args:
        attention: Weights, 0 where padded or not allowed.
        allowed: True where the query may attend to the key.
        is_cross: Queries are other tokens than the keys, of which none has a query of its own: both are the same.

    Returns:
        Both mean over the queries that may attend to the key: in a causal model those at its position or later, in a
        bidirectional one all. 0 = nobody looks at it, 1 = nobody looks anywhere else. NaN where there is no such query.

    Source: alpha_k = 1 / (T - k + 1) * sum_{i >= k} A_ik of Gu et al. (2024), "When Attention Sink Emerges in Language
        Models", section 3.1, there for causal models; the plain column mean for bidirectional ones, and leaving the own
        query out, are ours.
    """
    return means_of(received_sums(attention, allowed, is_cross))


class ReceivedSums(NamedTuple):
    """What `attention_received` is made of: sums over queries, those of windows of queries add up to those of all.

    Attributes:
        total: Attention that each key receives.
        own: Of it, from the query of its own token.
        n_all: Queries that may attend to the key.
        n_own: 1 where its own is one of them.
    """

    total: Float[np.ndarray, "input head key"]
    own: Float[np.ndarray, "input head key"]
    n_all: Int[np.ndarray, "input 1 key"]
    n_own: Int[np.ndarray, "input 1 key"]


def received_sums(
    attention: Float[np.ndarray, "input head query key"],
    allowed: Bool[np.ndarray, "input query key"],
    is_cross: bool = False,
    begin: int = 0,
) -> ReceivedSums:
    """The sums of some queries, the first of which has the position `begin`."""
    total, n_all = attention.sum(axis=2), allowed.sum(axis=1)[:, None]
    own, n_own = np.zeros_like(total), np.zeros_like(n_all)
    if not is_cross:
        diagonals = np.diagonal(attention, begin, 2, 3), np.diagonal(allowed, begin, 1, 2)[:, None]
        end = begin + diagonals[0].shape[-1]
        own[..., begin:end], n_own[..., begin:end] = diagonals
    return ReceivedSums(total, own, n_all, n_own)


def means_of(sums: ReceivedSums) -> tuple[Float[np.ndarray, "input head key"], Float[np.ndarray, "input head key"]]:
    """`attention_received` from its sums."""
    return _mean(sums.total, sums.n_all), _mean(sums.total - sums.own, sums.n_all - sums.n_own)


def learned_mass(
    received: Float[np.ndarray, "head key"], n_queries: Int[np.ndarray, " key"], n_tokens: int
) -> Float[np.ndarray, " head"]:
    """The mean attention that a learned sink takes on one input: what the rows lack to 1.

    Args:
        received: `Received.attention`.
        n_queries: Queries that see each key.
        n_tokens: Queries in all.
    """
    return np.clip(1 - np.nan_to_num(received) @ n_queries / n_tokens, 0, 1)


def _mean(total: Float[np.ndarray, "input head key"], n: Int[np.ndarray, "input 1 key"]) -> np.ndarray:
    # Sums without the own query may come out below zero by rounding.
    return np.where(n > 0, np.maximum(total, 0) / np.maximum(n, 1), np.nan).astype(np.float32)

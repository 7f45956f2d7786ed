"""Attention without its sinks: found for each head and input, taken away, and what is left of each row scaled up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.sinks.columns import USUAL, SinkRule, sink_columns

LEAST_LEFT = 1e-6
"""A row of which less than this is left is not scaled up: its digits would be rounding."""


class _Shares:
    """What both kinds of findings tell."""

    __slots__ = ()

    @property
    def share(self) -> Float[np.ndarray, "*head"]:
        """How much of each head's attention is hidden: the mean over queries that looked at anything, 0..1."""
        return np.asarray(self.mass.sum(axis=-1, dtype=np.float64) / np.maximum(self.n_looking, 1))

    @property
    def learned_share(self) -> Float[np.ndarray, "*head"]:
        """How much of each head's attention the model's own sink took, in the same mean; 0 where there is none."""
        return np.asarray(self.learned.sum(axis=-1, dtype=np.float64) / np.maximum(self.n_looking, 1))

    @property
    def n_columns(self) -> Int[np.ndarray, "*head"]:
        """How many keys of each head are hidden."""
        return np.asarray(self.columns.sum(axis=-1))


@dataclass(frozen=True, slots=True)
class Hidden(_Shares):
    """Attention of some heads on one input with the sinks of each head hidden.

    Attributes:
        weights: Of query on key, 0 at hidden keys. A row sums to 1, or to 0 where nothing was left of it.
        columns: True at the keys that are hidden.
        mass: How much of each query's attention lay on hidden keys, 0..1.
        learned: How much of it the model's own sink took, a logit that joins the softmax: what the row lacked to 1.
        n_emptied: Queries that looked at hidden keys only; their rows are 0.
        n_looking: Queries that looked at anything before.
    """

    weights: Float[np.ndarray, "*head query key"]
    columns: Bool[np.ndarray, "*head key"]
    mass: Float[np.ndarray, "*head query"]
    learned: Float[np.ndarray, "*head query"]
    n_emptied: Int[np.ndarray, "*head"]
    n_looking: Int[np.ndarray, "*head"]

    @property
    def left(self) -> Bool[np.ndarray, "*head query"]:
        """True where anything is left of a row."""
        return self.weights.any(axis=-1)


@dataclass(frozen=True, slots=True)
class HiddenFigures(_Shares):
    """What was hidden on an input whose weights are not held: `Hidden` of its windows, joined. Attributes as there."""

    columns: Bool[np.ndarray, "*head key"]
    mass: Float[np.ndarray, "*head query"]
    learned: Float[np.ndarray, "*head query"]
    n_emptied: Int[np.ndarray, "*head"]
    n_looking: Int[np.ndarray, "*head"]
    left: Bool[np.ndarray, "*head query"]


def joined(windows: Sequence[Hidden | HiddenFigures]) -> HiddenFigures:
    """The figures of all rows, from windows of them in order, whose `columns` are the same."""
    mass, learned, left = (
        np.concatenate([getattr(each, name) for each in windows], axis=-1) for name in ("mass", "learned", "left")
    )
    n_emptied, n_looking = (
        np.sum([getattr(each, name) for each in windows], axis=0) for name in ("n_emptied", "n_looking")
    )
    return HiddenFigures(windows[0].columns, mass, learned, np.asarray(n_emptied), np.asarray(n_looking), left)


def hide_sinks(
    weights: Float[np.ndarray, "*head query key"], allowed: Bool[np.ndarray, "query key"], rule: SinkRule = USUAL
) -> Hidden:
    """Take the sinks of each head out of its attention on one input and scale what is left of each row to sum to 1.

    Rows of models whose softmax has a sink of its own sum to less than 1 before: they are scaled to 1 as well, and
    `Hidden.learned` says what that sink took.

    Args:
        weights: Attention of one head or of several, 0..1; not changed.
        allowed: True where the query may attend to the key.
        rule: From how much attention on a key is a sink; see `sink_columns`.

    Returns:
        The attention without sinks, and what was hidden.

    Source: that models keep working on what is left is the reason to look at it, Xiao et al. (2023), "Efficient
        Streaming Language Models with Attention Sinks"; hiding and scaling are ours.
    """
    return hide_columns(weights, sink_columns(weights, allowed, rule))


def hide_columns(weights: Float[np.ndarray, "*head query key"], columns: Bool[np.ndarray, "*head key"]) -> Hidden:
    """What `hide_sinks` does, of some rows, with the keys that are hidden given."""
    total = weights.sum(axis=-1, dtype=np.float64)
    rest = weights * ~columns[..., None, :]
    left = rest.sum(axis=-1, dtype=np.float64)
    looks, has_rest = total > LEAST_LEFT, left > LEAST_LEFT
    factor = np.where(has_rest, 1 / np.where(has_rest, left, 1), 0)
    return Hidden(
        weights=(rest * factor[..., None].astype(np.float32)).astype(np.float32, copy=False),
        columns=columns,
        mass=np.clip(total - left, 0, 1),
        learned=np.clip(1 - total, 0, 1) * looks,
        n_emptied=np.asarray((looks & ~has_rest).sum(axis=-1)),
        n_looking=np.asarray(looks.sum(axis=-1)),
    )

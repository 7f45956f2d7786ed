"""Which keys of one input are sinks of a head: the rule that maps, views and statistics share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.errors import UserError
from analysis.types import Site


@dataclass(frozen=True, slots=True)
class SinkRule:
    """From how much attention on a token is a sink.

    Attributes:
        threshold: Mean attention received from which a token counts as a sink, 0..1: the threshold of Gu et al. (2024),
            "When Attention Sink Emerges in Language Models", there for the first token, here for any.
        min_queries: Queries that must see a token before it can be a sink: the last tokens of a causal input are seen
            by so few that attending to themselves alone would make sinks of them. Ours.
        counts_own: Whether a token's own query counts among those that see it. The published score counts it; without
            it a token that only looks at itself is no sink.
    """

    threshold: float = 0.3
    min_queries: int = 8
    counts_own: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"The threshold of a sink is {self.threshold:g}; give a mean attention over 0, at most 1.")
        if self.min_queries < 1:
            raise UserError(f"A sink is to be seen by {self.min_queries} queries; give 1 or more.")

    def at(self, site: Site) -> SinkRule:
        """The rule at a site: where keys are other tokens than queries, no query is a token's own, and all count."""
        return replace(self, counts_own=True) if site.is_cross else self


USUAL = SinkRule()


def sink_columns(
    weights: Float[np.ndarray, "*head query key"], allowed: Bool[np.ndarray, "query key"], rule: SinkRule = USUAL
) -> Bool[np.ndarray, "*head key"]:
    """Which keys of one input are sinks of a head.

    Args:
        weights: Attention of one head or of several, 0..1.
        allowed: True where the query may attend to the key.
        rule: A key is a sink when the queries that may see it, `rule.min_queries` or more of them, give it
            `rule.threshold` or more of their attention on average.

    Returns:
        True at sinks, for each head.
    """
    seeing = allowed if rule.counts_own else allowed & ~np.eye(*allowed.shape, dtype=bool)
    n_queries = seeing.sum(axis=0)
    mean = np.where(seeing, weights, 0).sum(axis=-2) / np.maximum(n_queries, 1)
    return is_sink(mean, n_queries, rule)


def is_sink(
    received: Float[np.ndarray, "*head key"], n_queries: Int[np.ndarray, " key"], rule: SinkRule = USUAL
) -> Bool[np.ndarray, "*head key"]:
    """Which keys are sinks by the mean attention they receive from the queries that see them; see `sink_columns`."""
    return (n_queries >= rule.min_queries) & (received >= rule.threshold)

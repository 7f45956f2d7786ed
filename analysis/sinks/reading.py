"""The attention received at every site of a run, read back for the statistics of sinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from analysis.sinks.columns import SinkRule
from analysis.sinks.groups import SiteReceived
from analysis.sinks.received import learned_mass
from analysis.types import Site

Mask = Bool[np.ndarray, "_ _"]
"""Who may attend to whom in one input, [query, key]."""


def received_at(run: Any, rule: SinkRule, sites: Sequence[Site] | None = None) -> Iterator[SiteReceived]:
    """Every site of a run, or some of them, one at a time; arrays are over the tokens of the site's key sequence.

    A token of another sequence than the queries has no query of its own: at sites of cross-attention all count.

    Args:
        run: With ``sites``, ``received`` and ``allowed_by_input``, as `analysis.store.Run`.
        rule: Whether a token's own query counts.
        sites: Only these.
    """
    for site in run.sites if sites is None else sites:
        own = rule.counts_own or site.is_cross
        received = run.received(site, counts_own=own)
        masks = run.allowed_by_input(site)
        of_mask = {id(mask): (_n_seeing(mask, own), even_received(mask, own), _n_seeing(mask, True)) for mask in masks}
        parts = (np.concatenate([of_mask[id(mask)][place] for mask in masks]) for place in range(3))
        yield SiteReceived(site.key, received, *parts, _learned(run, site, masks))


AT_ONCE = 2**22
"""Pairs of query and key whose weights are held at once."""


def even_received(allowed: Mask, counts_own: bool = True) -> Float[np.ndarray, " key"]:
    """What every token would receive if all queries looked evenly at what they may see: the null of the score."""
    total = np.zeros(allowed.shape[1])
    n_rows = max(1, AT_ONCE // max(allowed.shape[1], 1))
    for first in range(0, len(allowed), n_rows):
        rows = allowed[first : first + n_rows]
        weights = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
        total += weights.sum(axis=0)
        if not counts_own:
            own = np.diagonal(weights, first)
            total[first : first + len(own)] -= own
    return total / np.maximum(_n_seeing(allowed, counts_own), 1)


def _n_seeing(allowed: Mask, counts_own: bool) -> np.ndarray:
    n_queries = allowed.sum(axis=0)
    return n_queries if counts_own else n_queries - np.diagonal(allowed)


def _learned(run: Any, site: Site, masks: Sequence[Mask]) -> Float[np.ndarray, "head input"] | None:
    if not site.has_sink_logits:
        return None
    bounds = np.cumsum([len(mask) for mask in masks])[:-1]
    parts = np.split(run.received(site, counts_own=True), bounds, axis=1)
    taken = [learned_mass(part, _n_seeing(mask, True), len(mask)) for part, mask in zip(parts, masks, strict=True)]
    return np.stack(taken, axis=1)

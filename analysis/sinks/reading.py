"""The attention received at every site of a run, read back for the statistics of sinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.sinks.columns import SinkRule
from analysis.sinks.groups import SiteReceived
from analysis.sinks.received import learned_mass
from analysis.types import Band, Site

Mask = Bool[np.ndarray, "_ _"]
"""Who may attend to whom in one input, [query, key]."""


def received_at(run: Any, rule: SinkRule, sites: Sequence[Site] | None = None) -> Iterator[SiteReceived]:
    """Every site of a run, or some of them, one at a time; arrays are over the tokens of the site's key sequence.

    A token of another sequence than the queries has no query of its own: at sites of cross-attention all count.

    Args:
        run: With ``sites``, ``received``, ``bands_by_input`` and ``allowed_by_input``, as `analysis.store.Run`.
        rule: Whether a token's own query counts.
        sites: Only these.
    """
    for site in run.sites if sites is None else sites:
        own = rule.counts_own or site.is_cross
        received = run.received(site, counts_own=own)
        seen = list(_seen_by_input(run, site, own))
        parts = (np.concatenate([getattr(each, name) for each in seen]) for name in ("n_queries", "even", "n_all"))
        yield SiteReceived(site.key, received, *parts, _learned(run, site, seen))


class Seen(NamedTuple):
    """What the mask of one input says of every key.

    Attributes:
        n_queries: Queries that see it, its own among them or not.
        even: What it would receive of them if every query looked evenly at all it may see.
        n_all: Queries that see it, its own counted.
        n_tokens: Queries in all.
    """

    n_queries: Int[np.ndarray, " key"]
    even: Float[np.ndarray, " key"]
    n_all: Int[np.ndarray, " key"]
    n_tokens: int


def _seen_by_input(run: Any, site: Site, counts_own: bool) -> Iterator[Seen]:
    """For each input in order; a mask is made only where it is small, or no band describes it."""
    shapes = run.bands_by_input(site)
    is_long = {each: band is not None and n * m > AT_ONCE for each, ((n, m), band) in shapes.items()}
    short = [each for each in shapes if not is_long[each]]
    masks = iter(run.allowed_by_input(site, None if len(short) == len(shapes) else short) if short else ())
    known: dict[Any, Seen] = {}
    for each, (shape, band) in shapes.items():
        mask = None if is_long[each] else next(masks)
        key = shape if mask is None else id(mask)
        if key not in known:
            known[key] = _of_band(band, *shape, counts_own) if mask is None else _of_mask(mask, counts_own)
        yield known[key]


def _of_mask(mask: Mask, counts_own: bool) -> Seen:
    return Seen(_n_seeing(mask, counts_own), even_received(mask, counts_own), _n_seeing(mask, True), len(mask))


def _of_band(band: Band, n_queries: int, n_keys: int, counts_own: bool) -> Seen:
    """The same without the mask: the keys that a query may see are a run of them."""
    at = np.arange(n_queries)
    first = np.zeros_like(at) if band.left is None else np.clip(at - band.left, 0, n_keys)
    end = np.full_like(at, n_keys) if band.right is None else np.clip(at + band.right + 1, 0, n_keys)
    sees = end > first
    first, end, at = first[sees], end[sees], at[sees]
    each = 1 / (end - first)
    n_all, total = (
        np.cumsum(np.bincount(first, of, n_keys + 1) - np.bincount(end, of, n_keys + 1))[:n_keys]
        for of in (np.ones(len(at)), each)
    )
    n_all = n_all.round().astype(np.int64)
    n_seeing = n_all
    if not counts_own:
        own = (first <= at) & (at < end)
        n_seeing = n_all - np.bincount(at[own], minlength=n_keys)
        total = total - np.bincount(at[own], each[own], n_keys)
    return Seen(n_seeing, np.maximum(total, 0) / np.maximum(n_seeing, 1), n_all, n_queries)


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


def _learned(run: Any, site: Site, seen: Sequence[Seen]) -> Float[np.ndarray, "head input"] | None:
    if not site.has_sink_logits:
        return None
    bounds = np.cumsum([len(each.n_all) for each in seen])[:-1]
    parts = np.split(run.received(site, counts_own=True), bounds, axis=1)
    taken = [learned_mass(part, each.n_all, each.n_tokens) for part, each in zip(parts, seen, strict=True)]
    return np.stack(taken, axis=1)

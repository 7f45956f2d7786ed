"""Head metrics and profiles of what a batch captured, in fp32, before anything is rounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.attention import recompute, shares_of
from analysis.engines.long_scoring import LongScores, score_long
from analysis.engines.sink_figures import ReceivedSums, figures_of
from analysis.metrics import METRICS, UNKNOWN, AttentionMap, Tokens
from analysis.metrics.over_inputs import score_batch
from analysis.metrics.profiles import ProfileSums, sum_profiles
from analysis.metrics.tokens import TokenFacts
from analysis.sinks.received import Received
from analysis.types import BatchStates, Site, SiteCapture

PART_CELLS = 2**19
"""Cells of attention that are scored at once: with all that is made of them they stay in the cache of a core, and in
memory that is used again, where fresh pages would cost more than the arithmetic."""


class BatchScores(NamedTuple):
    """What a batch says of the heads.

    Attributes:
        scores: One row per metric, site (index), head and input: ``metric, site, head, input_id, value, null``. Pairs
            about which a metric says nothing are absent.
        profiles: Sums of the profiles, `ProfileSums.as_array`, by name of the profile and index of the site.
        received: The attention every token receives, by input and index of the site.
        figures: Figures of its residual states, by input and tower, each by measure.
    """

    scores: pd.DataFrame
    profiles: dict[tuple[str, int], np.ndarray]
    received: dict[tuple[int, int], Received]
    figures: dict[tuple[int, str], dict[str, np.ndarray]]


def score_captures(
    captures: Sequence[Sequence[SiteCapture]],
    metrics: Sequence[str],
    sink_logits: Mapping[str, np.ndarray],
    facts: TokenFacts | None = None,
    states: Sequence[BatchStates] = (),
) -> BatchScores:
    """Score every head on every input of a batch.

    Args:
        captures: For each input, its sites.
        metrics: Names in `METRICS`; with none, nothing is scored and no profile is made.
        sink_logits: Learned sinks by site key, for attention that has to be recomputed.
        facts: What is known of the tokens of the data set.
        states: Residual states of the same inputs.
    """
    received = ReceivedSums(captures if metrics else ())
    parts: list[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    profiles: dict[tuple[str, int], ProfileSums] = {}
    for of_site in zip(*captures, strict=True) if metrics else ():
        site = of_site[0].site
        names = [name for name in metrics if METRICS[name].on_cross] if site.is_cross else metrics
        for inputs, heads, attended in _batches(site, of_site, facts):
            for name, (value, null) in score_batch(attended, names).items():
                told = np.isfinite(value)
                if told.any():
                    shape = value.shape
                    which = np.broadcast_to(heads, shape)[told], np.broadcast_to(inputs[:, None], shape)[told]
                    parts.append((name, np.full(told.sum(), site.index), *which, value[told], null[told]))
            for name, sums in {} if site.is_cross else sum_profiles(attended).items():
                whole = profiles.setdefault((name, site.index), ProfileSums.empty(sums.kind, site.n_heads))
                whole.add(sums, heads)
            received.add(site.index, inputs, heads, attended)
        for capture in (capture for capture in of_site if capture.attention is None):
            for head in range(site.n_heads):
                found = _score_long(capture, head, sink_logits.get(site.key), names, facts)
                for name, (value, null) in found.scores.items():
                    one = np.array([site.index]), np.array([head]), np.array([capture.input_id])
                    parts.append((name, *one, np.array([value]), np.array([null])))
                for name, sums in found.profiles.items():
                    whole = profiles.setdefault((name, site.index), ProfileSums.empty(sums.kind, site.n_heads))
                    whole.add(sums, np.array([head]))
                received.put(site.index, capture.input_id, head, found.received)
    figures = figures_of(states, captures, received.found) if metrics else {}
    summed = {key: sums.as_array() for key, sums in profiles.items()}
    return BatchScores(_table(parts), summed, received.found, figures)


def _table(parts: Sequence[tuple]) -> pd.DataFrame:
    columns = ["site", "head", "input_id", "value", "null"]
    if not parts:
        return pd.DataFrame(columns=["metric", *columns])
    names = sorted({part[0] for part in parts})
    codes = np.concatenate([np.full(len(part[1]), names.index(part[0]), np.int16) for part in parts])
    joined = {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(columns, start=1)}
    return pd.DataFrame({"metric": pd.Categorical.from_codes(codes, names), **joined})


def _batches(
    site: Site, captures: Sequence[SiteCapture], facts: TokenFacts | None
) -> Iterator[tuple[np.ndarray, np.ndarray, AttentionMap]]:
    """Input ids, heads and attention of the inputs whose attention is held."""
    held = [capture for capture in captures if capture.attention is not None]
    for part in _parts(held, site.n_heads):
        ids = np.array([capture.input_id for capture in part])
        yield ids, np.arange(site.n_heads), _padded(part, facts)


def _parts(captures: Sequence[SiteCapture], n_heads: int) -> Iterator[Sequence[SiteCapture]]:
    """Inputs together whose padded attention has at most `PART_CELLS` cells, or one that has more."""
    part: list[SiteCapture] = []
    longest = (0, 0)
    for capture in captures:
        longest = tuple(map(max, longest, capture.allowed.shape))
        if part and (len(part) + 1) * n_heads * longest[0] * longest[1] > PART_CELLS:
            yield part
            part, longest = [], capture.allowed.shape
        part.append(capture)
    if part:
        yield part


def _padded(captures: Sequence[SiteCapture], facts: TokenFacts | None) -> AttentionMap:
    site = captures[0].site
    longest = tuple(max(capture.allowed.shape[axis] for capture in captures) for axis in (0, 1))
    attention = np.zeros((len(captures), site.n_heads, *longest), dtype=np.float32)
    allowed = np.zeros((len(captures), *longest), dtype=bool)
    for row, capture in enumerate(captures):
        n_queries, n_keys = capture.allowed.shape
        attention[row, :, :n_queries, :n_keys] = shares_of(site, capture.attention)
        allowed[row, :n_queries, :n_keys] = capture.allowed
    tokens = _tokens(facts, [capture.input_id for capture in captures], longest[1], site)
    return AttentionMap(attention, allowed, tokens, is_cross=site.is_cross)


def _tokens(facts: TokenFacts | None, inputs: Sequence[int] | np.ndarray, n_tokens: int, site: Site) -> Tokens:
    return UNKNOWN if facts is None else facts.batch(inputs, n_tokens, site.key_sequence)


def _score_long(
    capture: SiteCapture,
    head: int,
    sink_logits: np.ndarray | None,
    names: Sequence[str],
    facts: TokenFacts | None,
) -> LongScores:
    """One head of an input whose attention is not held: of a text window by window, of patches whole."""
    site, kv_head = capture.site, capture.site.kv_head(head)
    tokens = _tokens(facts, [capture.input_id], capture.allowed.shape[1], site)
    sinks = None if sink_logits is None else sink_logits[head : head + 1]

    def weights_of(rows: slice) -> np.ndarray:
        queries, keys = capture.queries[head : head + 1, rows], capture.keys[kv_head : kv_head + 1]
        return recompute(queries, keys, capture.allowed[rows], site.scale, site.softcap, sinks)[0]

    return score_long(weights_of, capture.allowed, tokens, names, is_cross=site.is_cross)

"""Scores of one head on one long input, of a text some queries at a time, so that its attention is never held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from analysis.metrics import METRICS, AttentionMap, Rows, Tokens
from analysis.metrics.over_inputs import score_batch
from analysis.metrics.profiles import ProfileSums, sum_profiles
from analysis.sinks.received import attention_received, means_of, received_sums

WINDOW_CELLS = 2**22
"""Weights of a head that are held at once, 16 MB; measures take about eight times as much on top."""


class LongScores(NamedTuple):
    """What one head does on one long text.

    Attributes:
        scores: Metric to its value and its null; absent where it says nothing.
        profiles: Sums of the profiles, by name.
        received: As `analysis.sinks.received.attention_received`, of this head.
    """

    scores: dict[str, tuple[float, float]]
    profiles: dict[str, ProfileSums]
    received: tuple[np.ndarray, np.ndarray]


def score_long(
    weights_of: Callable[[slice], np.ndarray],
    allowed: np.ndarray,
    tokens: Tokens,
    names: Sequence[str],
    *,
    is_cross: bool = False,
) -> LongScores:
    """Score a head without ever holding its attention; the same figures as from the whole, to rounding.

    Args:
        weights_of: Attention [query, key] of the queries of a slice.
        allowed: Who may attend to whom, [query, key].
        tokens: Of the input, a batch of one.
        names: Metrics.
        is_cross: Queries are tokens of another sequence than the keys.
    """
    if tokens.row is not None or allowed.size <= WINDOW_CELLS:
        # Patches are compared in two directions, which no window of rows is enough for.
        return _score_whole(
            AttentionMap.of_one(weights_of(slice(None))[None], allowed, tokens, is_cross=is_cross), names
        )
    means = {name: _Means() for name in names if METRICS[name].over_windows is None}
    sums = {name: METRICS[name].over_windows() for name in names if METRICS[name].over_windows is not None}
    at_once: set[str] = set()
    profiles: dict[str, ProfileSums] = {}
    received = None
    for window in _windows(weights_of, allowed, tokens, is_cross):
        for name, mean in means.items():
            found = METRICS[name].compute(window)
            if isinstance(found, Rows):
                mean.add(found)
            elif np.isfinite(found.value).any():
                at_once.add(name)
        for one in sums.values():
            one.add(window)
        for name, found in {} if is_cross else sum_profiles(window).items():
            profiles.setdefault(name, ProfileSums.empty(found.kind, 1)).add(found)
        added = received_sums(window.attention, window.allowed, is_cross, window.first)
        received = added if received is None else type(added)(*map(np.add, received, added))
    scores = {name: mean.result() for name, mean in means.items() if name not in at_once}
    scores |= {name: _of_one(*one.result()) for name, one in sums.items()}
    if at_once:
        whole = AttentionMap.of_one(weights_of(slice(None))[None], allowed, tokens, is_cross=is_cross)
        scores |= _score_whole(whole, sorted(at_once)).scores
    return LongScores(_told(scores), profiles, tuple(part[0, 0] for part in means_of(received)))


def _score_whole(attended: AttentionMap, names: Sequence[str]) -> LongScores:
    scores = {name: _of_one(*both) for name, both in score_batch(attended, names).items()}
    profiles = {} if attended.is_cross else sum_profiles(attended)
    received = attention_received(attended.attention, attended.allowed, attended.is_cross)
    return LongScores(_told(scores), profiles, tuple(part[0, 0] for part in received))


def _of_one(value: np.ndarray, null: np.ndarray) -> tuple[float, float]:
    return float(value[0, 0]), float(null[0, 0])


def _told(scores: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {name: score for name, score in scores.items() if np.isfinite(score[0])}


def _windows(
    weights_of: Callable[[slice], np.ndarray], allowed: np.ndarray, tokens: Tokens, is_cross: bool
) -> Iterator[AttentionMap]:
    n_queries, n_keys = allowed.shape
    n_rows = max(1, WINDOW_CELLS // n_keys)
    # Told of the whole: a window of a causal text sees no key behind its last query.
    last = int(np.flatnonzero(allowed.any(axis=0)).max(initial=-1)) + 1
    for first in range(0, n_queries, n_rows):
        rows = slice(first, min(first + n_rows, n_queries))
        weights = weights_of(rows)[None, None]
        window = AttentionMap(weights, allowed[None, rows], tokens, is_cross=is_cross, first=rows.start)
        window.__dict__["n_tokens"] = np.array([last])
        yield window


class _Means:
    """A metric row by row: its mean over the rows that count."""

    def __init__(self) -> None:
        self._value = self._null = 0.0
        self._n = [0, 0]

    def add(self, rows: Rows) -> None:
        value, null = (np.broadcast_to(part, rows.value.shape)[0, 0] for part in (rows.value, rows.null))
        counts = rows.counts[0]
        known = [np.isfinite(part) & counts for part in (value, null)]
        self._value += float(value[known[0]].sum(dtype=np.float64))
        self._null += float(null[known[1]].sum(dtype=np.float64))
        self._n = [n + int(which.sum()) for n, which in zip(self._n, known, strict=True)]

    def result(self) -> tuple[float, float]:
        sums = self._value, self._null
        return tuple(total / n if n else float("nan") for total, n in zip(sums, self._n, strict=True))

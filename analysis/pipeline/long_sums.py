"""Sums over the windows of a head's attention on one long text: where it looks on average, and which keys are sinks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from analysis.sinks import USUAL, HiddenFigures, SinkRule, hide_columns, is_sink, joined

if TYPE_CHECKING:
    from analysis.metrics.tokens import Tokens
    from analysis.store.reading import Reader
    from analysis.store.windows import Window
    from analysis.types import Site

WINDOWED_TOKENS = 4096
"""Of longer texts no matrix is held: it would take more than 64 MB, and what is made of it several times that."""


class HeadSums(NamedTuple):
    """What a head does on a text, as means over its queries, and its sinks.

    Attributes:
        on_first: Weight on the first token, 0..1.
        on_own: Weight on the token itself.
        on_previous: Weight on the token before, over the queries that have one.
        sinks: True at keys that are sinks, as `analysis.sinks.sink_columns` finds them.
    """

    on_first: float
    on_own: float
    on_previous: float
    sinks: Bool[np.ndarray, " key"]


def sum_up(windows: Iterable[Window], n_tokens: int, rule: SinkRule = USUAL) -> HeadSums:
    """The sums of a head whose queries and keys are the tokens of one text."""
    received, seen = np.zeros(n_tokens), np.zeros(n_tokens, dtype=np.int64)
    own, may_own = np.zeros(n_tokens), np.zeros(n_tokens, dtype=np.int64)
    first = previous = 0.0
    for rows, keys, weights, allowed in windows:
        received[keys] += np.where(allowed, weights, 0).sum(axis=0, dtype=np.float64)
        seen[keys] += np.count_nonzero(allowed, axis=0)
        first += float(weights[:, 0].sum(dtype=np.float64)) if keys.start == 0 else 0.0
        own_place, on_own = _diagonal(weights, rows.start, keys.start)
        own[own_place] = on_own
        may_own[own_place] = _diagonal(allowed, rows.start, keys.start)[1]
        previous += float(_diagonal(weights, rows.start - 1, keys.start)[1].sum(dtype=np.float64))
    on_own = float(own.sum() / n_tokens)
    if not rule.counts_own:
        received, seen = received - np.where(may_own > 0, own, 0), seen - may_own
    sinks = is_sink(received / np.maximum(seen, 1), seen, rule)
    return HeadSums(first / n_tokens, on_own, previous / max(n_tokens - 1, 1), sinks)


def _diagonal(matrix: Float[np.ndarray, "q k"] | Bool[np.ndarray, "q k"], row: int, column: int) -> tuple:
    """Keys and cells where a key has the number of its row, with the rows counted from `row`, keys from `column`."""
    first = max(row, column)
    cells = np.diagonal(matrix[first - row :], 0 if row <= column else row - column)
    return slice(first, first + len(cells)), cells


def widened(window: Window, n_keys: int) -> tuple[Float[np.ndarray, "query all"], Bool[np.ndarray, "query all"]]:
    """Weights and mask of a window over all keys."""
    if window.keys == slice(0, n_keys):
        return window.weights, window.allowed
    weights = np.zeros((len(window.weights), n_keys), np.float32)
    allowed = np.zeros(weights.shape, dtype=bool)
    weights[:, window.keys], allowed[:, window.keys] = window.weights, window.allowed
    return weights, allowed


def is_read_in_windows(site: Site, n_tokens: int, has_text: bool) -> bool:
    """Whether the attention of a site on an input is read some queries at a time: of long texts that are one sequence.

    Not where the weights are signed, which are stored whole.
    """
    return has_text and n_tokens > WINDOWED_TOKENS and not site.is_signed and not site.query_sequence


def hidden_in_windows(
    run: Reader, site: Site, head: int, input_id: int, n_tokens: int, rule: SinkRule = USUAL
) -> HiddenFigures:
    """What is hidden of a head on a long text where its sinks are, as `analysis.sinks.hide_sinks` finds it."""
    columns = sum_up(run.attention_windows(site, head, input_id), n_tokens, rule).sinks
    parts = (widened(window, n_tokens)[0] for window in run.attention_windows(site, head, input_id))
    return joined([joined([hide_columns(weights, columns)]) for weights in parts])


def scores_in_windows(
    run: Reader,
    site: Site,
    head: int,
    input_id: int,
    tokens: Tokens,
    names: Sequence[str],
    columns: Bool[np.ndarray, " key"] | None = None,
) -> dict[str, float]:
    """Metrics of a head on a long text; without the keys in `columns`, where they are given. Its mask is held."""
    from analysis.engines.long_scoring import score_long

    allowed = run.allowed(site, input_id)

    def weights_of(rows: slice) -> np.ndarray:
        queries = np.arange(*rows.indices(len(allowed)))
        weights, _ = run.attention_among(site, head, input_id, queries)
        return weights if columns is None else hide_columns(weights, columns).weights

    found = score_long(weights_of, allowed, tokens, names).scores
    return {name: value for name, (value, _) in found.items()}

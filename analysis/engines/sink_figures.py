"""What a batch says of sinks: the attention every token receives, and figures of its residual states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.metrics import AttentionMap
from analysis.sinks import USUAL
from analysis.sinks.received import Received, attention_received
from analysis.sinks.state_figures import primary_of, state_figures
from analysis.types import BatchStates, SiteCapture

PRIMARY = "is_primary"
"""Beside the measures of `state_figures`: 1 at the primary sink of the input in this tower."""


class ReceivedSums:
    """The attention received by every token of a batch, collected as its heads are scored.

    Attributes:
        found: By input and index of the site.
    """

    def __init__(self, captures: Sequence[Sequence[SiteCapture]]) -> None:
        self.found = {
            (capture.input_id, capture.site.index): Received(
                *(np.full((capture.site.n_heads, capture.allowed.shape[1]), np.nan, np.float32) for _ in range(2))
            )
            for of_input in captures
            for capture in of_input
        }

    def add(self, site: int, inputs: np.ndarray, heads: np.ndarray, attended: AttentionMap) -> None:
        """Some heads of one site on some inputs."""
        measured = attention_received(attended.attention, attended.allowed, attended.is_cross)
        for row, both in enumerate(zip(*measured, strict=True)):
            for whole, part in zip(self.found[int(inputs[row]), site], both, strict=True):
                whole[heads] = part[:, : whole.shape[1]]

    def put(self, site: int, input_id: int, head: int, both: tuple[np.ndarray, np.ndarray]) -> None:
        """One head of one site on one input."""
        for whole, part in zip(self.found[input_id, site], both, strict=True):
            whole[head] = part[: whole.shape[1]]


def figures_of(
    batches: Sequence[BatchStates],
    captures: Sequence[Sequence[SiteCapture]],
    received: dict[tuple[int, int], Received],
) -> dict[tuple[int, str], dict[str, np.ndarray]]:
    """By input and tower, the measures of `state_figures` and `PRIMARY`, each [layer, token]."""
    of_input = {sites[0].input_id: sites for sites in captures if sites}
    found = {}
    for batch in batches:
        primaries = [_primary(of_input[input_id], batch.stack, received) for input_id in batch.input_ids]
        figures = state_figures(batch, primaries)
        for row, (input_id, n_tokens, primary) in enumerate(
            zip(batch.input_ids, batch.n_tokens, primaries, strict=True)
        ):
            is_primary = (np.arange(n_tokens) == primary).astype(np.float32)[None]
            own = {name: values[:, row, :n_tokens] for name, values in figures.items()}
            found[input_id, batch.stack] = {PRIMARY: is_primary, **own}
    return found


def _primary(sites: Sequence[SiteCapture], stack: str, received: dict[tuple[int, int], Received]) -> int:
    tower = [capture for capture in sites if capture.site.stack_label == stack and capture.site.role == "self"]
    seen = [_seen_by_others(capture.allowed) for capture in tower]
    others = np.concatenate([received[capture.input_id, capture.site.index].others for capture in tower])
    return primary_of(others, np.max(seen, axis=0), USUAL.min_queries)


def _seen_by_others(allowed: np.ndarray) -> np.ndarray:
    """How many queries but its own may attend to each key."""
    seen, own = allowed.sum(axis=0), np.diagonal(allowed)
    seen[: len(own)] -= own
    return seen

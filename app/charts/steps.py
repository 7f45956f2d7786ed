"""A text that a model wrote, step by step: which row chose a token, what was there by then, and the lookback ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from analysis.metrics import METRICS, AttentionMap
from analysis.metrics.tokens import Tokens

LOOKBACK = "lookback_ratio"


@dataclass(frozen=True)
class Step:
    """One token that the model wrote.

    Attributes:
        number: From 1.
        n_steps: Tokens that it wrote in all.
        row: Position of the token it came after: that token's query chose what was written next.
        written: Position of the token that was written.
    """

    number: int
    n_steps: int
    row: int
    written: int


def written_places(written: Bool[np.ndarray, " token"]) -> list[int]:
    """Positions of the tokens that the model wrote; none at 0, where nothing would have chosen it."""
    return [place for place in np.flatnonzero(written).tolist() if place > 0]


def step_of(said: str | None, written: Bool[np.ndarray, " token"]) -> Step | None:
    """The step that a link asks for; None where it asks for none that there is."""
    places = written_places(written)
    if said is None or not (said.isascii() and said.isdigit() and len(said) < 9 and 1 <= int(said) <= len(places)):
        return None
    place = places[int(said) - 1]
    return Step(int(said), len(places), place - 1, place)


def not_yet(step: Step | None, n_tokens: int) -> Bool[np.ndarray, " token"]:
    """Tokens that were not there when the step's token was chosen: it, and what was written later."""
    return np.zeros(n_tokens, dtype=bool) if step is None else np.arange(n_tokens) >= step.written


def lookback_at(
    step: Step,
    attention: Float[np.ndarray, "head query key"],
    allowed: Bool[np.ndarray, "query key"],
    written: Bool[np.ndarray, " token"],
    first: int = 0,
) -> float | None:
    """The lookback ratio of the step's row, mean over heads: weight on the tokens given against those written by then.

    Args:
        attention, allowed: Of all queries, or of some, the step's row among them.
        first: Position of the first of these.

    Returns:
        0..1, 0.5 for even attention; None at the first step, when nothing was written yet.
    """
    weights, tokens = np.asarray(attention, np.float32)[None], Tokens(written=written[None])
    attended = AttentionMap(weights, allowed[None], tokens, first=first)
    found, row = METRICS[LOOKBACK].compute(attended), step.row - first
    if not found.counts[0, row]:
        return None
    return float(found.value[0, :, row].mean())

"""The sinks of the shown heads on the shown input: what is hidden of each, and their mean without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from analysis.sinks import Hidden, HiddenFigures
from analysis.types import Site
from app.charts.hidden_words import emptied_words, hidden_words
from app.charts.words import percent
from app.views.input_parts.sources import Source

_NAMED = 3
"""Up to so many hidden tokens are named."""


@dataclass(frozen=True)
class HiddenHere:
    """What is hidden of each of the shown heads."""

    heads: Sequence[Hidden | HiddenFigures]

    @property
    def columns(self) -> Bool[np.ndarray, " key"]:
        """Keys that are hidden in all of the heads."""
        return np.all([each.columns for each in self.heads], axis=0)

    @property
    def emptied(self) -> Bool[np.ndarray, " query"]:
        """Queries of which no head has anything left."""
        return ~self._left.any(axis=0) & np.any([each.mass > 0 for each in self.heads], axis=0)

    @property
    def _left(self) -> Bool[np.ndarray, "head query"]:
        return np.stack([each.left for each in self.heads])

    def mean(self, weights: Sequence[Float[np.ndarray, "query key"]]) -> Float[np.ndarray, "query key"]:
        """The mean of the heads, for each query over those of which something is left, so that a row still sums to 1.

        Args:
            weights: Of each head, without its sinks.
        """
        n_left = np.maximum(self._left.sum(axis=0), 1)
        return (np.sum(weights, axis=0) / n_left[:, None].astype(np.float32)).astype(np.float32, copy=False)

    def sentence(self, head: str, names: Sequence[str], picked: int | None) -> str:
        """How much is hidden, on which tokens.

        Args:
            head: Its name, where it is only one.
            names: Of every token.
            picked: Position of the token whose query is looked at; None for none.
        """
        places = np.flatnonzero(self.columns).tolist()
        is_one = len(self.heads) == 1
        which = ""
        if is_one and 0 < len(places) <= _NAMED:
            which = " (" + ", ".join(f"“{names[place]}” at {place}" for place in places) + ")"
        share, n, learned = (
            float(np.mean([getattr(each, figure) for each in self.heads]))
            for figure in ("share", "n_columns", "learned_share")
        )
        said = hidden_words(
            share, n, "" if is_one else "a head", which=which, learned=learned,
            whose=f"{head}’s attention here" if is_one else "these heads’ attention here",
        )  # fmt: skip
        if picked is not None and n:
            said += f" Of the picked query’s it is {percent(np.mean([each.mass[picked] for each in self.heads]))}."
        return said + emptied_words(int(self.emptied.sum()))


def hide_here(source: Source, heads: Sequence[tuple[Site, int]]) -> HiddenHere:
    """Hide the sinks of each head."""
    return HiddenHere([source.hidden(site.label, head) for site, head in heads])

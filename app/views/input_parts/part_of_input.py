"""One sequence of an input whose sequences are of two kinds: the picture as a vision tower has it, or the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.sinks import Hidden
from analysis.types import IMAGE_PART, TEXT_PART, Site
from app.state import Selection
from app.views.input_parts.sources import Source


def shown_part(source: Source, site: Site) -> Source:
    """What a site sees of an input: one part of it where its tokens are a picture and a text, or the patches of several
    stages, else the whole."""
    is_in_parts = site.query_sequence == site.key_sequence and site.query_sequence in (IMAGE_PART, TEXT_PART)
    return PartOfInput(source, site) if is_in_parts or site.is_in_windows else source


IN_WINDOWS = (
    "Patches attend within a window, and nothing is drawn beyond it; where a window at the edge is filled up with "
    "padding, that takes what weights lack to 1."
)


class PartOfInput:
    """A source of the tokens of one sequence alone; positions count from its first token.

    Args:
        source: The whole input.
        site: One whose queries and keys are tokens of the sequence.
    """

    def __init__(self, source: Source, site: Site) -> None:
        self._source = source
        self.places = source.query_positions(site)
        self.first = int(self.places[0])
        self.sequence = site.query_sequence
        self.key = f"{source.key} {self.sequence}"
        self.notes = (*source.notes, *([IN_WINDOWS] if site.is_in_windows else []))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        return self._source.tokens.iloc[self.places].reset_index(drop=True)

    @property
    def text(self) -> str | None:
        return self._source.text if self.sequence == TEXT_PART else None

    def query_positions(self, site: Site) -> np.ndarray:
        return self._source.query_positions(site) - self.first

    def key_positions(self, site: Site) -> np.ndarray:
        return self._source.key_positions(site) - self.first

    def attention(self, site: str, head: int) -> np.ndarray:
        return self._cut(self._source.attention(site, head))

    def signed(self, site: str, head: int) -> np.ndarray:
        return self._cut(self._source.signed(site, head))

    def allowed(self, site: str) -> np.ndarray:
        return self._cut(self._source.allowed(site))

    def score_part(self, site: Site, head: int, part: str) -> np.ndarray:
        return self._cut(self._source.score_part(site, head, part))

    def value_norms(self, site: str, head: int) -> np.ndarray:
        return self._source.value_norms(site, head)[self.places]

    def hidden(self, site: str, head: int) -> Hidden:
        found = self._source.hidden(site, head)
        return replace(
            found, weights=self._cut(found.weights), columns=found.columns[self.places], mass=found.mass[self.places],
            learned=found.learned[self.places],
        )  # fmt: skip

    def each_head(self, stack: list[Site]) -> Iterator[tuple[Site, int, np.ndarray]]:
        for site, head, attention in self._source.each_head(stack):
            yield site, head, self._cut(attention)

    def marked(self, selection: Selection) -> np.ndarray | None:
        found = self._source.marked(selection)
        return None if found is None else found[self.places]

    def _cut(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[np.ix_(self.places, self.places)]

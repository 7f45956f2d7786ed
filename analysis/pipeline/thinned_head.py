"""A head of a run with long inputs as the maps see it: a seeded sample of the tokens of each long one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from analysis.pipeline.maps import StoredHead
    from analysis.projection.problem import HeadProblem

LONGEST_INPUT = 4_000
"""Of a longer input so many tokens are fitted and the others placed beside them: a map reads every pair of tokens that
it is fitted on, 16 million of these."""


@dataclass(frozen=True)
class ThinnedHead:
    """A head of which some tokens are left out, read only for the inputs asked for.

    Attributes:
        whole: The head with all its tokens.
        kept: Of every input, the positions among its queries that are kept, rising.
        kept_keys: The same of its keys.
    """

    whole: StoredHead
    kept: Sequence[np.ndarray]
    kept_keys: Sequence[np.ndarray]

    @property
    def starts(self) -> np.ndarray:
        """Row of the queries at which each input begins, and their number at the end."""
        return _bounds(self.kept)

    @property
    def key_starts(self) -> np.ndarray | None:
        """The same of the keys, where they are other tokens."""
        return None if self.whole.key_starts is None else _bounds(self.kept_keys)

    @property
    def rows(self) -> np.ndarray:
        """The rows of the whole head's queries that are kept."""
        return _rows(self.whole.starts, self.kept)

    @property
    def key_rows(self) -> np.ndarray:
        """The same of its keys."""
        return _rows(self.whole.bounds_of_keys, self.kept_keys)

    def of_inputs(self, inputs: np.ndarray) -> HeadProblem:
        """The problem of some inputs, rising: attention of the kept tokens among themselves, rows that sum to 1."""
        from analysis.projection.problem import HeadProblem

        whole = self.whole
        kept, kept_keys = ([each[place] for place in inputs] for each in (self.kept, self.kept_keys))
        ids = whole.input_ids[inputs].tolist()
        parts = [
            whole.reader.attention_among(whole.site, whole.head, input_id, *both)
            for input_id, *both in zip(ids, kept, kept_keys, strict=True)
        ]
        rows, key_rows = (
            np.concatenate([starts[place] + at for place, at in zip(inputs, each, strict=True)])
            for starts, each in ((whole.starts, kept), (whole.bounds_of_keys, kept_keys))
        )
        queries, keys = whole.vectors()
        special = whole.special_queries
        return HeadProblem(
            queries=queries[rows], keys=keys[key_rows], scale=whole.site.scale, starts=_bounds(kept),
            attention=[weights for weights, _ in parts], allowed=[allowed for _, allowed in parts],
            is_special=whole.is_special[key_rows],
            key_starts=None if whole.key_starts is None else _bounds(kept_keys),
            special_queries=None if special is None else special[rows],
        )  # fmt: skip

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """The queries and the keys that are kept."""
        queries, keys = self.whole.vectors()
        return queries[self.rows], keys[self.key_rows]

    def thinned(self, seed: int) -> None:
        """It is that already."""


def kept_tokens(lengths: np.ndarray, seed: int, longest: int) -> list[np.ndarray]:
    """A seeded sample of the positions of each input that is longer than this, the first of them always kept; all
    positions of the others. The same for every head."""
    kept = []
    for place, length in enumerate(lengths.tolist()):
        if length <= longest:
            kept.append(np.arange(length))
            continue
        drawn = np.random.default_rng([seed, 3, place]).choice(np.arange(1, length), longest - 1, replace=False)
        kept.append(np.concatenate([[0], np.sort(drawn)]))
    return kept


def _bounds(kept: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([len(each) for each in kept])]).astype(np.int64)


def _rows(starts: np.ndarray, kept: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([start + each for start, each in zip(starts[:-1], kept, strict=True)])

"""Attention of a run some queries at a time, for texts whose whole matrix is too large to be held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from analysis.attention import shares_of
from analysis.store.sink_tables import SinkTables
from analysis.types import Band, Site

WINDOW_CELLS = 2**20
"""Weights that are held at once, 4 MB."""


class Window(NamedTuple):
    """Some rows of a head's attention on one input.

    Attributes:
        rows: Which queries.
        keys: Which keys: all that any of these queries may attend to lie among them.
        weights: As `Reader.shares` gives them.
        allowed: True where the query may attend to the key.
    """

    rows: slice
    keys: slice
    weights: Float[np.ndarray, "query key"]
    allowed: Bool[np.ndarray, "query key"]


class WindowedAttention(SinkTables):
    """Reads windows of attention; a part of `analysis.store.reading.Reader`, which has what is missing here."""

    def attention_among(
        self, site: Site | str, head: int, input_id: int, queries: np.ndarray, keys: np.ndarray | None = None
    ) -> tuple[Float[np.ndarray, "chosen_query chosen_key"], Bool[np.ndarray, "chosen_query chosen_key"]]:
        """`shares` of some queries of a head on one input, without the others: a window of a long text.

        Args:
            site: Where.
            head: Which head.
            input_id: Which input.
            queries: Rows of `attention`.
            keys: Columns of it; every row is then brought to its old share over these alone, summing to 1. None for
                all, as `attention` gives them.

        Returns:
            Weights, and who may attend to whom.

        Raises:
            UnknownName: No such site, head or input.
        """
        found = self._head(site, head)
        allowed = self._allowed_among(found, input_id, queries, keys)
        if self._is_stored(found, head, input_id):
            some = self.shares(found, head, input_id)[queries]
            if keys is None:
                return some, allowed
            some = some[:, keys]
            total = some.sum(axis=1, keepdims=True)
            return some / np.where(total > 0, total, np.float32(1)), allowed
        q, k = self.queries(found, head, [input_id])[queries], self.centred_keys(found, head, [input_id])
        return self._weights(found, q[None], (k if keys is None else k[keys])[None], allowed, [head])[0], allowed

    def attention_windows(
        self, site: Site | str, head: int, input_id: int, starts: Sequence[int] | None = None
    ) -> Iterator[Window]:
        """The whole of `shares` of a head on one input, one window of queries after the other.

        Where queries and keys give the attention back nothing larger than a window is held, and keys that the band
        hides from all of its queries are left out. Attention that is stored is read whole, and so is a mask that no
        band describes.

        Args:
            starts: First query of each window, rising from 0; None for windows of `WINDOW_CELLS`.

        Raises:
            UnknownName: No such site, head or input.
        """
        found = self._head(site, head)
        n_queries, n_keys = (
            self._length(sequence, input_id) for sequence in (found.query_sequence, found.key_sequence)
        )
        if starts is None:
            starts = range(0, n_queries, max(1, WINDOW_CELLS // max(n_keys, 1)))
        return self._windows(found, head, input_id, n_keys, [*starts, n_queries])

    def _windows(self, found: Site, head: int, input_id: int, n_keys: int, starts: Sequence[int]) -> Iterator[Window]:
        """Windows between each of `starts` and the next."""
        band = None if self._has_mask(found, input_id) else found.band
        mask = self.allowed(found, input_id) if band is None else None
        stored = self.shares(found, head, input_id) if self._is_stored(found, head, input_id) else None
        if stored is None:
            q, k = self.queries(found, head, [input_id]), self.centred_keys(found, head, [input_id])
        for first, end in pairwise(starts):
            rows, keys = slice(first, end), slice(0, n_keys)
            if band is not None:
                keys = slice(
                    0 if band.left is None else min(max(first - band.left, 0), n_keys),
                    n_keys if band.right is None else min(end + band.right, n_keys),
                )
                allowed = band.among(np.arange(first, end), np.arange(keys.start, keys.stop))
            else:
                allowed = mask[rows]
            if stored is None:
                weights = shares_of(found, self._weights(found, q[None, rows], k[None, keys], allowed, [head])[0])
            else:
                weights = stored[rows, keys]
            yield Window(rows, keys, weights, allowed)

    def bands_by_input(self, site: Site | str) -> dict[int, tuple[tuple[int, int], Band | None]]:
        """How many queries and keys a site has on every input, in order, and the band that tells who may attend to
        whom; None where the mask is stored."""
        found, odd = self.site(site), set()
        lengths, n_keys = (self.lengths_of(name) for name in (found.query_sequence, found.key_sequence))
        if found.index in self._where("masks"):
            odd = {each for (each,) in self._rows("SELECT input_id FROM masks WHERE site = ?", [found.index])}
        return {each: ((n, n_keys[each]), None if each in odd else found.band) for each, n in lengths.items()}

    def _is_stored(self, site: Site, head: int, input_id: int) -> bool:
        query = "SELECT 1 FROM attention WHERE input_id = ? AND site = ? AND head = ?"
        return bool(self._rows(query, [input_id, site.index, head]))

    def _has_mask(self, site: Site, input_id: int) -> bool:
        query = "SELECT 1 FROM masks WHERE input_id = ? AND site = ?"
        return site.index in self._where("masks") and bool(self._rows(query, [input_id, site.index]))

    def _allowed_among(
        self, site: Site, input_id: int, queries: np.ndarray, keys: np.ndarray | None
    ) -> Bool[np.ndarray, "chosen_query chosen_key"]:
        self._n_tokens(input_id)
        keys = np.arange(self._length(site.key_sequence, input_id)) if keys is None else keys
        if self._has_mask(site, input_id) or site.band is None:
            return self.allowed(site, input_id)[np.ix_(queries, keys)]
        return site.band.among(queries, keys)

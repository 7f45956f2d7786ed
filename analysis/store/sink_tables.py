"""What a run tells of sinks: attention received, residual states, the table of sinks, and what cutting them does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from analysis.errors import RunError
from analysis.store.sink_rows import unpack
from analysis.store.tables import TableReader
from analysis.types import Site


class SinkTables(TableReader):
    """Reads them. Safe to use from many threads."""

    def received(self, site: Site | str, *, counts_own: bool = False) -> Float[np.ndarray, "head point"]:
        """The mean attention that every token receives in each head of a site, in token-table order, fp32, 0..1: every
        token of its key sequence, see `key_rows`.

        Args:
            site: A site, its key or label.
            counts_own: Whether a token's own query counts among those that see it.

        Returns:
            NaN where no query, or no other query, sees the token. See `analysis.sinks.received`.

        Raises:
            RunError: The run was made before this was measured, with what to do.
        """
        found, column = self.site(site), "attention" if counts_own else "others"
        query = f"SELECT input_id, {column} FROM received WHERE site = ? ORDER BY input_id"
        rows = self._rows(query, [found.index])
        if [row[0] for row in rows] != list(self._lengths):
            raise RunError(
                "This run was made before sinks were measured: extract it again, under another --run-id where it has "
                "one, to see its sinks."
            )
        return unpack([row[1] for row in rows], found.n_heads)

    def state_figures(self, stack: str) -> dict[str, Float[np.ndarray, "layer point"]]:
        """What was measured of the residual state of every token of a tower, by measure, in token-table order.

        The measures are those of `analysis.sinks.state_figures`; layers are those captured, and the last row of most
        is the state behind the last. ``is_primary`` has one row: 1 at the primary sink of each input.

        Args:
            stack: Label of the tower, as in ``text.dec.self``.

        Returns:
            Empty where the states of the tower were not measured.
        """
        query = "SELECT measure, n_layers, figures FROM state_figures WHERE stack = ? ORDER BY measure, input_id"
        blobs: dict[str, list[bytes]] = {}
        n_layers: dict[str, int] = {}
        for measure, n_rows, figures in self._rows(query, [stack]):
            blobs.setdefault(measure, []).append(figures)
            n_layers[measure] = n_rows
        return {name: unpack(found, n_layers[name]) for name, found in blobs.items()}

    def sinks(self) -> pd.DataFrame:
        """Sinks of every head, by position, by class and by string of the token.

        Returns:
            site (key), head, position, token, score, rate, ci_low, ci_high, n, null, kind; see
            `analysis.sinks.find_sinks`, with its default threshold of 0.3.
            Empty for runs made before sinks were measured.
        """
        columns = 'site, head, position, token, score, rate, ci_low, ci_high, n, null_baseline AS "null", kind'
        order = "site, head, kind, position, score DESC, token"
        return self._with_keys(self._frame(f"SELECT {columns} FROM sinks ORDER BY {order}"))

    def sink_cuts(self, cut: str | None = None) -> pd.DataFrame:
        """What changed on each input when sinks were cut: cut, input_id, measure, before, after; of one cut when given.

        The measures are those of `analysis.sinks.cut_measures`. Inputs without anything to cut are absent.
        """
        query = 'SELECT cut, input_id, measure, "before", "after" FROM sink_cuts WHERE ? IS NULL OR cut = ?'
        return self._frame(f"{query} ORDER BY ALL", [cut, cut])

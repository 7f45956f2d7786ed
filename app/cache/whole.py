"""What a site says of some tokens of an input, put in its place among all of them.

Where an input is several sequences, a site's queries are the tokens of one and its keys those of one, perhaps another.
The page counts positions through the whole input, so that points, links and searches mean the same token everywhere.
"""

from __future__ import annotations

import numpy as np

from analysis.store.reading import Reader
from analysis.types import QUERY, Site
from app.charts.shown import block_in

__all__ = ["block_in", "matrix", "rows"]


def matrix(run: Reader, site: Site | str, input_id: int, block: np.ndarray) -> np.ndarray:
    """A ``[query, key]`` block, or ``[head, query, key]``, as that of all tokens of the input: 0 or False elsewhere."""
    if len(run.sequences) == 1:
        return block
    places = run.query_positions(site, input_id), run.key_positions(site, input_id)
    return block_in(run.lengths_of("", [input_id])[input_id], *places, block)


def rows(run: Reader, site: Site | str, kind: str, values: np.ndarray) -> np.ndarray:
    """What there is a row of for each query, or each key, of a site, as rows of all tokens: NaN elsewhere."""
    if len(run.sequences) == 1:
        return values
    own = run.query_rows(site) if kind == QUERY else run.key_rows(site)
    whole = np.full((sum(run.lengths_of("").values()), *values.shape[1:]), np.nan, dtype=values.dtype)
    whole[own] = values
    return whole

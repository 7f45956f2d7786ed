"""The attention of a run on one input, in parts small enough to be held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from analysis.store.reading import Reader
    from analysis.types import Site

TOGETHER_CELLS = 50_000_000
"""Weights of all heads on one input that are held at once; of longer inputs one head at a time."""


def attention_in_parts(
    run: Reader, input_id: int, n_tokens: int, sites: Sequence[Site] | None = None
) -> Iterator[tuple[Site, int, np.ndarray]]:
    """Attention on one input as measures take it: of all heads of a site, or of a long input of one head after the
    other.

    Args:
        run: A run.
        input_id: One of its inputs.
        n_tokens: Tokens of this input.
        sites: Only these sites; None for all.

    Yields:
        Site, first head, and weights [head, query, key] of this head and those behind it.
    """
    chosen = run.sites if sites is None else sites
    if n_tokens**2 * sum(site.n_heads for site in run.sites) <= TOGETHER_CELLS:
        everything = run.shares_all(input_id)
        yield from ((site, 0, everything[site.key]) for site in chosen)
        return
    for site in chosen:
        yield from ((site, head, run.shares(site, head, input_id)[None]) for head in range(site.n_heads))

"""The tokens that stand out in every view: those a lasso holds or the search finds, or a set that somebody picked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Bool, Int

from analysis.types import head_name
from app import cache
from app.cache import searches
from app.cache.lassoed import lassoed
from app.state import Selection

FIND = "find"
"""The word of the link that holds the search."""

LASSO = "lasso"
"""The word of the link that holds a lasso; see `app.charts.lasso_word`."""

_PICKED = "picked_tokens"


@dataclass(frozen=True)
class Marks:
    """A set of tokens that every view shows.

    Attributes:
        tokens: [token] in token-table order; both points of a marked token are marked.
        title: What they are, as in ``search “dog”`` or ``lasso in L2H3``.
        key: A short word that differs whenever the set does, for keys of caches.
    """

    tokens: Bool[np.ndarray, " token"]
    title: str
    key: str

    @property
    def n_tokens(self) -> int:
        """How many are marked."""
        return int(self.tokens.sum())


def marks(selection: Selection) -> Marks | None:
    """What is marked now: a lasso before a picked set before the search; None when nothing is.

    Raises:
        UserError: The lasso or the search cannot be understood; one sentence.
    """
    if word := selection.options.get(LASSO):
        lasso, flags = lassoed(selection.run, word)
        name = head_name(cache.facts(selection.run).site(lasso.site).depth, lasso.head)
        rows = np.flatnonzero(flags.reshape(2, -1).any(axis=0))
        return _as_marks(cache.tokens(selection.run), rows, f"lasso in {name}")
    picked = st.session_state.get(_PICKED)
    if picked is not None and picked["run"] == selection.run:
        return _as_marks(cache.tokens(selection.run), picked["tokens"], picked["title"])
    words = selection.options.get(FIND, "").strip()
    if not words:
        return None
    found = searches.found(words, selection.run)
    return _as_marks(cache.tokens(selection.run), np.flatnonzero(found), f"search “{words}”")


def pick_tokens(run_id: str, tokens: Int[np.ndarray, " marked"], title: str) -> None:
    """Mark these rows of the token table in every view until `let_go`, unless the link holds a lasso."""
    st.session_state[_PICKED] = {"run": run_id, "tokens": np.unique(tokens), "title": title}


def let_go() -> None:
    """Forget the picked set; a search, which is in the link, stays."""
    st.session_state.pop(_PICKED, None)


def _as_marks(tokens: pd.DataFrame, rows: Int[np.ndarray, " marked"], title: str) -> Marks:
    marked = np.zeros(len(tokens), dtype=bool)
    marked[rows] = True
    return Marks(marked, title, hashlib.blake2b(marked.tobytes(), digest_size=8).hexdigest())

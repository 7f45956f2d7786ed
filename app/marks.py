"""The tokens that stand out in every view: those the search finds, or a set that somebody picked.

What a search means: its words anywhere in a text, letter case ignored, whatever the tokenizer made of them;
``/…/`` is a regular expression; ``column=value`` looks in a column of the token table instead.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import regex
import streamlit as st
from jaxtyping import Bool, Int

from analysis.errors import UserError
from app import cache
from app.state import Selection

FIND = "find"
"""The word of the link that holds the search."""

LONGEST_SEARCH = 200
SLOWEST_SECONDS = 2.0
"""A regular expression may run so long over all texts of a run."""

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
    """What is marked now: a picked set before the search; None when nothing is.

    Raises:
        UserError: The search cannot be understood; one sentence.
    """
    picked = st.session_state.get(_PICKED)
    if picked is not None and picked["run"] == selection.run:
        return _as_marks(cache.tokens(selection.run), picked["tokens"], picked["title"])
    words = selection.options.get(FIND, "").strip()
    if not words:
        return None
    found = _found(words, selection.run, cache.stamp(selection.run))
    return _as_marks(cache.tokens(selection.run), np.flatnonzero(found), f"search “{words}”")


def pick_tokens(run_id: str, tokens: Int[np.ndarray, " marked"], title: str) -> None:
    """Mark these rows of the token table in every view until `let_go`; a lasso need not fit into a link."""
    st.session_state[_PICKED] = {"run": run_id, "tokens": np.unique(tokens), "title": title}


def let_go() -> None:
    """Forget the picked set; a search, which is in the link, stays."""
    st.session_state.pop(_PICKED, None)


def _as_marks(tokens: pd.DataFrame, rows: Int[np.ndarray, " marked"], title: str) -> Marks:
    marked = np.zeros(len(tokens), dtype=bool)
    marked[rows] = True
    return Marks(marked, title, hashlib.blake2b(marked.tobytes(), digest_size=8).hexdigest())


@st.cache_data(max_entries=16, show_spinner=False)
def _found(words: str, run_id: str, stamp: str) -> np.ndarray:
    return find_tokens(words, cache.tokens(run_id), cache.input_texts(run_id))


def find_tokens(words: str, tokens: pd.DataFrame, texts: Mapping[int, str]) -> Bool[np.ndarray, " token"]:
    """The tokens a search finds.

    Args:
        words: As typed: plain words, ``/regular expression/`` or ``column=value``.
        tokens: The token table: input_id, text, char_start, char_end, and any columns.
        texts: Text of each input; empty for images.

    Returns:
        [token] true where a match covers any part of the token, or is found in what the token shows (so that
        ``[CLS]``, which is in no text, can be found).

    Raises:
        UserError: The search is too long, no regular expression, too slow, or names no column.
    """
    if len(words) > LONGEST_SEARCH:
        raise UserError(f"The search has {len(words)} letters; at most {LONGEST_SEARCH} are looked for: shorten it.")
    column, is_equation, value = words.partition("=")
    if is_equation and column in tokens.columns:
        return _equals(tokens[column], value)
    is_regex = len(words) > 2 and words.startswith("/") and words.endswith("/")
    try:
        pattern = regex.compile(words[1:-1] if is_regex else regex.escape(words), regex.IGNORECASE)
        return _matches(pattern, tokens, texts)
    except regex.error as error:
        cure = "correct it, or leave the slashes away to look for plain text"
        raise UserError(f"{words!r} is not a regular expression ({error}); {cure}.") from None
    except TimeoutError:
        raise UserError(f"The search {words!r} took over {SLOWEST_SECONDS:.0f} seconds; simplify it.") from None


def _equals(column: pd.Series, value: str) -> Bool[np.ndarray, " token"]:
    try:
        return (column.astype(float) == float(value)).to_numpy(dtype=bool, na_value=False)
    except (TypeError, ValueError):
        return column.astype(str).str.casefold().eq(value.casefold()).to_numpy(dtype=bool, na_value=False)


def _matches(pattern: Any, tokens: pd.DataFrame, texts: Mapping[int, str]) -> Bool[np.ndarray, " token"]:
    end = time.monotonic() + SLOWEST_SECONDS

    def left() -> float:
        return max(end - time.monotonic(), 1e-3)

    codes, shown = pd.factorize(tokens["text"].astype(str))
    found = np.array([pattern.search(text, timeout=left()) is not None for text in shown], dtype=bool)[codes]
    if not texts:
        return found
    places = tokens[["input_id", "char_start", "char_end"]].fillna(0).to_numpy(dtype=np.int64)
    firsts = np.flatnonzero(np.diff(places[:, 0], prepend=-1))
    for first, last in zip(firsts, [*firsts[1:], len(places)]):
        starts, ends = places[first:last, 1], places[first:last, 2]
        for match in pattern.finditer(texts.get(int(places[first, 0]), ""), timeout=left()):
            found[first:last] |= (starts < match.end()) & (ends > match.start()) & (ends > starts)
    return found

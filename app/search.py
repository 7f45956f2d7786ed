"""What a search finds: its words anywhere in a text, letter case ignored, whatever the tokenizer made of them;
``/…/`` is a regular expression; ``column=value`` looks in a column of the token table instead."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import regex
from jaxtyping import Bool

from analysis.errors import UserError

LONGEST_SEARCH = 200
SLOWEST_SECONDS = 2.0
"""A regular expression may run so long over all texts of a run."""


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

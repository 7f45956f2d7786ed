"""A text as a reader sees it, each token shaded by attention to or from one token of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.components import pack, register
from app.palette import KEY, QUERY

WHOLE_MATRIX_TOKENS = 256
"""Longest text whose whole matrix goes to the browser, so that pointing at a token reshades at once."""

_mount = register("sentence")


def sentence(
    tokens: list[str],
    gaps: list[str],
    special: list[bool],
    resting: Float[np.ndarray, " token"],
    attention: Float[np.ndarray, "query key"],
    picked: int | None,
    kind: str,
    on_pick: Callable[[int | None], None],
    key: str,
) -> None:
    """Draw the sentence.

    Args:
        tokens: Text of each token.
        gaps: What stands in the text between the token before and this one.
        special: True for tokens the tokenizer added.
        resting: Weights shown while nothing is pointed at: the picked token's, or the mean over queries.
        attention: The head's matrix; sent whole up to `WHOLE_MATRIX_TOKENS` tokens.
        picked: Position of the held token.
        kind: ``query``: shade where the token looks; ``key``: shade who looks at it.
        on_pick: Called with the position that was clicked, None when it was let go.
    """
    whole = len(tokens) <= WHOLE_MATRIX_TOKENS
    header = {"tokens": tokens, "gaps": gaps, "special": special, "picked": picked, "kind": kind, "whole": whole}
    header |= {"shade": KEY if kind == "query" else QUERY}
    matrix = attention if whole else attention[:0]
    data = pack(header, {"resting": resting.astype(np.float32), "matrix": matrix.astype(np.float32)})

    def pick() -> None:
        said = st.session_state[key].pick
        on_pick(None if said is None or said < 0 else int(said))

    _mount(key=key, data=data, on_pick_change=pick)

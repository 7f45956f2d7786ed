"""A text as a reader sees it, each token or word shaded by attention to or from one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.charts.long_shown import LongShown
from app.charts.shown import Shown, Strongest
from app.components import pack, register
from app.palette import KEY, QUERY

WHOLE_MATRIX = 256
"""Up to so many units the whole matrix goes to the browser, so that pointing at one reshades at once."""

_mount = register("sentence")


@dataclass(frozen=True)
class Piece:
    """A token or word of the text, hidden ones too.

    Attributes:
        text: As the tokens have it.
        gap: What stands in the text between the piece before and this one.
        position: Of its first token.
        unit: Its place in the matrix; -1 where it is hidden.
        is_special: Added by the tokenizer.
        is_marked: Found by the search or picked elsewhere; None where nothing is looked for.
        ahead: ``next`` for the token that is written at the step shown, ``later`` for those behind it.
        is_drawn: False for what is named here and drawn elsewhere: a frame of a sound.
    """

    text: str
    gap: str
    position: int
    unit: int
    is_special: bool
    is_marked: bool | None = None
    ahead: str = ""
    is_drawn: bool = True


def sentence(
    pieces: list[Piece],
    shown: Shown | LongShown,
    top: Strongest,
    resting: Float[np.ndarray, " unit"],
    picked: int | None,
    kind: str,
    scale: str,
    title: str,
    on_pick: Callable[[int | None], None],
    key: str,
) -> None:
    """Draw the sentence.

    Args:
        pieces: In the order of the text.
        shown: The matrix; sent whole up to `WHOLE_MATRIX` units.
        top: The strongest of each row and column, told at the pointer at any length.
        resting: Weights shown while nothing is pointed at: the picked unit's, or the mean over queries.
        picked: The held unit.
        kind: ``query``: shade where the unit looks; ``key``: shade who looks at it.
        scale: ``linear``, ``log`` or ``rank``, over the weights that are shaded.
        title: What the weights are, as in ``weight``.
        on_pick: Called with the position that was clicked, None when it was let go.
    """
    is_whole = len(shown) <= WHOLE_MATRIX
    header = {
        "pieces": [
            [one.text, one.gap, one.position, one.unit, one.is_special, one.is_marked, one.ahead, one.is_drawn]
            for one in pieces
        ],
        "picked": picked,
        "kind": kind,
        "whole": is_whole,
        "scale": scale,
        "title": title,
        "what": "token" if (shown.first == shown.last).all() else "word",
        "shades": {"query": KEY, "key": QUERY},
        "n": len(shown),
        "sinks": shown.sinks.tolist(),
    }
    matrix = shown.seen() if is_whole else np.zeros((0, len(shown)))
    sections = {
        "resting": resting.astype(np.float32),
        "matrix": matrix.astype(np.float32),
        **top._asdict(),
    }

    def pick() -> None:
        said = st.session_state[key].pick
        on_pick(None if said is None or said < 0 else int(said))

    _mount(key=key, data=pack(header, sections, again=True), on_pick_change=pick)

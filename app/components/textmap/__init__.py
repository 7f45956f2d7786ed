"""A long text's heat map: an overview of the whole matrix and an exact window into it, on canvas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.components import pack, register

WINDOW_TOKENS = 36
"""Rows and columns of the window."""

_mount = register("textmap")


def textmap(
    labels: list[str],
    window: Float[np.ndarray, "row column"],
    first: tuple[int, int],
    overview: bytes,
    most: float,
    picked: int | None,
    kind: str,
    on_pick: Callable[[int, int], None],
    on_move: Callable[[int, int], None],
    key: str,
) -> None:
    """Draw the map.

    Args:
        labels: Visible text of every token.
        window: Weights of the cells shown, NaN where a query may not attend.
        first: Query and key of the window's first cell.
        overview: PNG of the whole matrix, queries down.
        most: The largest weight of the whole matrix: the top of the colour bar.
        picked: Position of the held token, a query or a key by `kind`.
        on_pick: Called with query and key of a clicked cell.
        on_move: Called with query and key of the new first cell.
    """
    rows, columns = window.shape
    header = {
        "n": len(labels),
        "rows": labels[first[0] : first[0] + rows],
        "columns": labels[first[1] : first[1] + columns],
        "first": first,
        "most": most,
        "picked": picked,
        "kind": kind,
    }
    data = pack(header, {"window": window.astype(np.float32), "overview": overview})

    def said(name: str, then: Callable[[int, int], None]) -> Callable[[], None]:
        def call() -> None:
            value = getattr(st.session_state[key], name)
            if value is not None:
                then(int(value[0]), int(value[1]))

        return call

    _mount(key=key, data=data, on_pick_change=said("pick", on_pick), on_move_change=said("move", on_move))

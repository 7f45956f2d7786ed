"""Every head of a stack on one input as a small map; one sprite, a click picks the head."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.components import pack, register

_mount = register("headstrip")


def headstrip(
    sprite: bytes,
    names: list[str],
    notes: list[str],
    n_columns: int,
    row_labels: list[str],
    shape: tuple[int, int],
    picked: list[int],
    ranked: list[int] | None,
    on_pick: Callable[[int], None],
    key: str,
) -> None:
    """Draw the strip.

    Args:
        sprite: PNG of all maps, `n_columns` to a row, each `shape` pixels (rows, columns).
        names: Of every head, row by row, as in ``L3H5``.
        notes: One sentence a head, for the pointer and the screen reader.
        row_labels: One a row of the sprite.
        picked: Places of the heads shown above, in the order of `names`.
        ranked: Places in the order to draw them, each with its name; None for rows of layers.
        on_pick: Called with the place of the head that was clicked.
    """
    header = {
        "names": names,
        "notes": notes,
        "columns": n_columns,
        "labels": row_labels,
        "shape": shape,
        "picked": picked,
        "ranked": ranked,
    }

    def pick() -> None:
        said = st.session_state[key].pick
        if said is not None:
            on_pick(int(said))

    _mount(key=key, data=pack(header, {"sprite": sprite}, again=True), on_pick_change=pick)

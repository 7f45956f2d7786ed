"""Points that are like the picked one, as a list that also marks them on the map under the pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from app.components import register

_mount = register("similar")


def similar(
    rows: Sequence[Mapping[str, Any]],
    images: Mapping[int, str],
    *,
    colour: str,
    farthest: float,
    label: str,
    key: str,
    on_pick: Callable[[dict], None],
) -> None:
    """Draw the list.

    Args:
        rows: From `app.charts.nearest.describe_found`.
        images: Small pictures by input id, as data addresses; empty for texts.
        colour: Of the kind of point.
        farthest: The distance at which a bar is full.
        label: What the list is, for a screen reader.
        on_pick: Called with ``{"input", "token", "kind"}`` of the row that was clicked.
    """

    def pick() -> None:
        said = st.session_state[key].pick
        if said is not None:
            on_pick(said)

    data = {
        "rows": list(rows), "images": {str(at): image for at, image in images.items()},
        "colour": colour, "farthest": farthest, "label": label,
    }  # fmt: skip
    _mount(key=key, data=data, on_pick_change=pick)

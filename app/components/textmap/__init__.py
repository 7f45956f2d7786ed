"""A text's heat map on canvas: an exact window of cells, and beside a long text's an overview of the whole matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from app.charts.long_shown import LongShown
from app.charts.scales import ColourScale
from app.charts.shown import Shown, strongest
from app.components import pack, register

WINDOW = (30, 40)
"""Rows and columns of the window into a long text."""

WHOLE_UNITS = 48
"""Texts of up to so many tokens or words are drawn whole."""

_mount = register("textmap")


def window_of(spans: tuple[range, range]) -> tuple[int, int]:
    """Rows and columns that are drawn at once of so many queries and keys."""
    n_queries, n_keys = map(len, spans)
    return (n_queries, n_keys) if max(n_queries, n_keys) <= WHOLE_UNITS else (
        min(WINDOW[0], n_queries), min(WINDOW[1], n_keys)
    )  # fmt: skip


def textmap(
    labels: list[str],
    shown: Shown | LongShown,
    spans: tuple[range, range],
    first: tuple[int, int],
    scale: ColourScale,
    title: str,
    overview: bytes,
    picked: int | None,
    kind: str,
    marked: list[bool] | None,
    on_pick: Callable[[int, int], None],
    on_move: Callable[[int, int], None],
    key: str,
) -> None:
    """Draw the map.

    Args:
        labels: Visible text of every unit.
        shown: The matrix, of which only the window goes to the browser.
        spans: Units that are queries, and units that are keys: all of them, or those of one sequence each.
        first: Query and key unit of the window's first cell.
        scale: Of the whole matrix, so that colours keep their meaning when the window moves.
        title: What the weights are, for the colour bar.
        overview: PNG of the whole matrix within `spans`, queries down; empty where the window is the whole.
        picked: The held unit, a query or a key by `kind`.
        marked: Units that stand out; None where nothing is looked for.
        on_pick: Called with the positions of query and key of a clicked cell.
        on_move: Called with query and key unit of the new first cell.
    """
    rows, columns = window_of(spans)
    part = (slice(first[0], first[0] + rows), slice(first[1], first[1] + columns))
    weights, allowed = shown.part(*part)
    header = {
        "begin": [span.start for span in spans],
        "n": [len(span) for span in spans],
        "rows": labels[part[0]],
        "columns": labels[part[1]],
        "places": [_places(shown, part[0]), _places(shown, part[1])],
        "marked": None if marked is None else [marked[part[0]], marked[part[1]]],
        "sinks": shown.sinks[part[1]].tolist(),
        "first": first,
        "knots": [scale.weights.tolist(), scale.shares.tolist()],
        "ticks": scale.ticks(),
        "title": f"{title}, {scale.name} scale",
        "ramp": scale.ramp,
        "picked": picked,
        "kind": kind,
    }
    tops = {}
    for name, found in (
        ("keys", strongest(*shown.part(part[0], slice(None)))), ("queries", shown.strongest_queries(part[1]))
    ):  # fmt: skip
        header[name], tops[f"{name}_weights"] = _named(labels, *found)
    window = np.where(allowed, weights, np.nan).astype(np.float32)
    data = pack(header, {"window": window, "overview": overview, **tops}, again=True)

    def pick(query: int, key_unit: int) -> None:
        on_pick(int(shown.first[query]), int(shown.first[key_unit]))

    _mount(key=key, data=data, on_pick_change=_said(key, "pick", pick), on_move_change=_said(key, "move", on_move))


def _said(key: str, name: str, then: Callable[[int, int], None]) -> Callable[[], None]:
    def call() -> None:
        value = getattr(st.session_state[key], name)
        if value is not None:
            then(int(value[0]), int(value[1]))

    return call


def _named(labels: list[str], others: np.ndarray, weights: np.ndarray) -> tuple[list[list[str]], np.ndarray]:
    return [[labels[other] for other in row if other >= 0] for row in others], weights.astype(np.float32)


def _places(shown: Shown | LongShown, part: slice) -> list[str]:
    return [str(a) if a == b else f"{a}–{b}" for a, b in zip(shown.first[part].tolist(), shown.last[part].tolist())]

"""The matrix of all heads, shrunk to the layer that is shown: a click goes to a head, or back to the whole."""

from __future__ import annotations

import io

import streamlit as st

from analysis.types import Site, head_name
from app import cache, widgets
from app.components.scatter import draw_strip, pack_strip
from app.state import RunFacts, Selection

STRIP = "head_strip"


def render_strip(selection: Selection, facts: RunFacts) -> None:
    """Draw it."""
    site = facts.site(selection.site)
    what = f"strip {selection.map} {site.label}"
    message = cache.message(what, selection.run, lambda: _pack(selection, facts, site))
    if draw_strip(message, key=STRIP, on_go=_go):
        widgets.open_view("atlas")


def _go() -> None:
    target = st.session_state[STRIP].go
    widgets.select(site=target["site"], head=int(target["head"]))


def _pack(selection: Selection, facts: RunFacts, site: Site) -> bytes:
    stack = [each for each in facts.sites if each.stack_label == site.stack_label]
    sprite = cache.sprite(selection.run, selection.map, site.stack_label)
    at, names = stack.index(site), [head_name(site.depth, head) for head in range(site.n_heads)]
    layers = [
        None if other is None else {"site": other.label, "name": f"L{other.depth}", "n_heads": other.n_heads}
        for other in (stack[at - 1] if at else None, stack[at + 1] if at + 1 < len(stack) else None)
    ]
    n_columns = max(each.n_heads for each in stack)
    row = _row(sprite, at, n_columns) if sprite else b""
    return pack_strip(row, site.label, f"L{site.depth}", names, layers, n_columns)


def _row(sprite: bytes, row: int, n_columns: int) -> bytes:
    """One row of the sprite of all heads, as a PNG."""
    from PIL import Image

    whole = Image.open(io.BytesIO(sprite))
    side = whole.width // n_columns
    written = io.BytesIO()
    whole.crop((0, row * side, whole.width, (row + 1) * side)).save(written, "PNG")
    return written.getvalue()

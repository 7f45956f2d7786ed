"""What the atlas sends to the browser: the grid, what stands out in it, and the card of the selected head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.errors import UserError
from app import cache, marks, widgets
from app.cache import atlas
from app.charts.card_points import CardPoints, card_points
from app.charts.head_order import arrange
from app.charts.head_table import leading
from app.components.matrix import Cell, Lit, Stack, Tint, pack_marks, pack_matrix
from app.marks import Marks
from app.state import EXPLAINED, KIND_COLOUR, RunFacts, Selection
from app.views.atlas_sinks import SinksOfHeads

FIDELITY = {"title": "Map explains", "unit": "share of the head's attention; 0 = no better than uniform", "high": ""}
NO_TINT = "none"
NO_VECTORS = ": attention without queries and keys, so no map; Input, Heads and Sinks show it"


def matrix_message(
    selection: Selection,
    facts: RunFacts,
    heads: pd.DataFrame,
    tint: str | None,
    order: str,
    by: str | None,
    sinks: SinksOfHeads | None = None,
) -> bytes:
    """Everything the matrix shows, on hover too; kept.

    Args:
        heads: All heads, as `head_table` makes them.
        tint: The score in the frames.
        order: A word of `ORDERS`.
        by: The score that orders.
        sinks: What is hidden of every head; None where nothing is.
    """
    name = f"matrix {selection.map} {selection.colour} {tint} {order} {by}{' without sinks' if sinks else ''}"
    return cache.message(name, selection.run, lambda: _pack_all(selection, facts, heads, tint, order, by, sinks))


def _pack_all(
    selection: Selection,
    facts: RunFacts,
    heads: pd.DataFrame,
    tint: str | None,
    order: str,
    by: str | None,
    sinks: SinksOfHeads | None,
) -> bytes:
    heads = _with_drawn(heads, tint, by, sinks)
    stacks = [_stack(selection, heads[heads["stack"] == stack], stack, tint, order, by) for stack in facts.stacks]
    shown = _tint(heads, tint, sinks) if tint else None
    colours = atlas.colouring(selection.run, selection.colour)
    what = "queries (green) and keys (magenta)"
    if selection.colour != KIND_COLOUR:
        what = f"queries and keys coloured by {colours.title}"
    alt = f"{len(heads)} maps of {what}, rows are layers, columns are heads"
    return pack_matrix(stacks, shown, colours.as_dict() if selection.map else None, selection.run, selection.map, alt)


def _with_drawn(heads: pd.DataFrame, tint: str | None, by: str | None, sinks: SinksOfHeads | None) -> pd.DataFrame:
    """The heads with three columns more: the score in their frames, the one that orders them, and what is hidden."""
    found = {name: sinks.heads if sinks and sinks.has(name) else heads for name in (tint, by) if name is not None}
    drawn = {_TINT: tint, _BY: by}
    columns = {column: found[name][name].to_numpy(float) for column, name in drawn.items() if name is not None}
    return heads.assign(**columns, **({_HIDDEN: sinks.heads["hidden"].to_numpy()} if sinks else {}))


_TINT, _BY, _HIDDEN = "drawn tint", "drawn order", "drawn hidden"


def _tint(heads: pd.DataFrame, tint: str, sinks: SinksOfHeads | None) -> Tint:
    after_title, after_unit = sinks.legend(tint) if sinks else ("", "")
    title, unit = score_title(tint) + after_title, score_words(tint)["unit"] + after_unit
    return Tint(title, unit, *limits(heads[_TINT]))


def _stack(
    selection: Selection, heads: pd.DataFrame, stack: str, tint: str | None, order: str, by: str | None
) -> Stack:
    words = cache.metrics()
    rows = heads.to_dict("records")
    depths = sorted({row["layer"] for row in rows})
    cells = [_cell(row, depths.index(row["layer"]), tint, words) for row in rows]
    scores = [float("nan") if by is None else float(row[_BY]) for row in rows]
    lines = arrange([cell.layer for cell in cells], [cell.head for cell in cells], scores, order)
    n_columns = max(cell.head for cell in cells) + 1
    sprite, px = b"", 0
    if selection.map:
        sprite, px = atlas.thumbnails(selection.run, selection.map, stack, selection.colour)
    subtitle = f"{len(depths)} layers × {n_columns} heads"
    if not sprite:
        has_vectors = any(site.has_vectors for site in cache.facts(selection.run).sites if site.stack_label == stack)
        subtitle += NO_VECTORS if not has_vectors else ", not in this map" if selection.map else ", no map yet"
    is_named = order in ("heads", "both", "rank")
    return Stack(widgets.stack_title(stack), subtitle, n_columns, cells, lines, is_named, sprite, px)


def _cell(row: Mapping[str, object], place: int, tint: str | None, words: Mapping[str, Mapping[str, str]]) -> Cell:
    return Cell(
        site=row["site"], layer=row["layer"], head=row["head"], name=row["name"], row=place, column=row["head"],
        explains=_figure(row.get(EXPLAINED)), key_only=_figure(row.get("key_only_kl")),
        tint=_figure(row.get(_TINT)) if tint else None, leading=tuple(leading(row, words)),
        hidden=_figure(row.get(_HIDDEN)),
    )  # fmt: skip


def marks_message(selection: Selection, facts: RunFacts) -> bytes:
    """What stands out in every head: the marked set and the picked token; kept."""
    marked, row = marked_now(selection), picked_row(selection)
    name = f"atlas marks {selection.map} {marked.key if marked else None} {marked.title if marked else None} {row}"
    return cache.message(name, selection.run, lambda: _pack_marks(selection, facts, marked, row))


def _pack_marks(selection: Selection, facts: RunFacts, marked: Marks | None, row: int | None) -> bytes:
    run, map_name = selection.run, selection.map
    lit = [
        Lit(
            atlas.marked(run, map_name, stack, marked.tokens) if marked and marked.n_tokens and map_name else b"",
            atlas.picked(run, map_name, stack, row) if row is not None and map_name else np.zeros(0, np.uint16),
        )
        for stack in facts.stacks
    ]
    token = None if row is None else str(cache.tokens(run)["text"].iloc[row])
    if marked is None:
        return pack_marks(None, 0, "", lit, token, run, map_name)
    return pack_marks(marked.title, marked.n_tokens, marked.key, lit, token, run, map_name)


def selected_points(selection: Selection) -> CardPoints | None:
    """The map of the selected head, for the card; None where the head is not in the map."""
    queries, keys = cache.points(selection.run, selection.map, selection.site, selection.head)
    if not len(queries):
        return None
    marked = marked_now(selection)
    colours = atlas.colouring(selection.run, selection.colour)
    return card_points(queries, keys, colours, marked.tokens if marked else None, picked_row(selection))


def marked_now(selection: Selection) -> Marks | None:
    """The marked set; None also where the search cannot be understood, which the left column says."""
    try:
        return marks.marks(selection)
    except UserError:
        return None


def picked_row(selection: Selection) -> int | None:
    """Row of the picked token in the token table."""
    if selection.input is None or selection.token is None:
        return None
    tokens = cache.tokens(selection.run)
    found = np.flatnonzero((tokens["input_id"] == selection.input) & (tokens["position"] == selection.token))
    return int(found[0]) if len(found) else None


def score_words(name: str) -> Mapping[str, str]:
    """Title and unit of a head score."""
    return FIDELITY if name == EXPLAINED else cache.metrics().get(name, {"title": name, "unit": "", "high": ""})


def score_title(name: str) -> str:
    """The score as it is called on the page."""
    return name if name in (NO_TINT, "site", "layer", "head", "name") else score_words(name)["title"].replace("_", " ")


def limits(values: pd.Series) -> tuple[float, float]:
    """The ends of the colour ramp: the smallest and largest value there is, from 0 where the values allow it."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return 0.0, 1.0
    return (0.0 if 0 <= finite.min() < finite.max() / 2 else float(finite.min())), float(finite.max())


def _figure(value: object) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)

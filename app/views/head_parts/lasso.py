"""The lasso of the Head page: its word in the link, what the panel says of the points it holds, and its tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.types import head_name
from app import cache, marks, widgets
from app.cache import hidden
from app.cache.lassoed import lassoed
from app.charts.lasso import compare_columns, compare_numbers, mean_attention, over_represented
from app.charts.lasso_word import drawn_lasso, write_lasso
from app.components.scatter import as_bits
from app.state import Selection
from app.views.head_parts.picture import view_of

MOST_DRAWN = 300
"""Corners of a drawn line that are read."""


def take(selection: Selection, drawn: dict[str, Any]) -> None:
    """Put the line that was drawn on the map of `selection` into the link: what it holds is marked in every view.

    Args:
        drawn: ``polygon``, ``turn``, ``middle`` and the words of the filters, as `draw_scatter` gives them. Points
            that are filtered away are not taken.
    """
    filters = {word: drawn.get(word) for word in ("kinds", "hide", "range")}
    corners = np.asarray(drawn["polygon"], dtype=float).reshape(-1, 2)[:MOST_DRAWN]
    place = (str(selection.site), int(selection.head or 0), str(selection.map))
    lasso = drawn_lasso(*place, corners, drawn.get("turn"), drawn.get("middle"), **filters)
    marks.let_go()
    widgets.select(**{marks.LASSO: write_lasso(lasso)})


def held(selection: Selection) -> dict[str, Any] | None:
    """The lasso of the link with what it holds; None where there is none, or none that this run can show."""
    word = selection.options.get(marks.LASSO)
    if not word:
        return None
    try:
        lasso, flags = lassoed(selection.run, word)
    except UserError:  # the left column says why
        return None
    shape = {"polygon": lasso.polygon.tolist(), "turn": lasso.rotation}
    key = hashlib.blake2b(word.encode() + flags.tobytes(), digest_size=8).hexdigest()
    view = view_of(selection.having(map=lasso.map, site=lasso.site, head=lasso.head))
    return {"flags": flags, "shape": shape, "view": view, "key": key}


def panel_words(selection: Selection, lasso: dict[str, Any], view: str) -> dict[str, Any]:
    """What the panel and the picture need: the findings for the head shown, the polygon where it was drawn."""
    sinks = "hidden" if selection.hides_sinks else "shown"
    what = f"lasso {selection.site}|{selection.head}|{_group(selection)}|{lasso['key']}|{sinks}"
    found = cache.message(what, selection.run, lambda: json.dumps(findings(selection, lasso["flags"])).encode())
    shape = lasso["shape"] if lasso["view"] == view else None
    key = f"{lasso['key']} {view}"
    return {"lasso": {**json.loads(found), "key": key, "shape": shape}, "half": as_bits(lasso["flags"])}


def findings(selection: Selection, flags: np.ndarray) -> dict[str, Any]:
    """Everything told of the selected points: see `app.charts.lasso`."""
    tokens = cache.tokens(selection.run)
    queries, keys = flags[: len(tokens)], flags[len(tokens) :]
    inside = queries.astype(int) + keys
    columns, group = cache.run(selection.run).token_columns(), _group(selection)
    named = [name for name, info in columns.items() if info.kind == "categorical"]
    attention = None
    if queries.any() and keys.any():
        inputs = hidden.by_input(selection.run, selection.site, selection.head, selection.hides_sinks)
        attention = mean_attention(inputs, queries, keys, tokens[group]) | {
            "by": "token" if group == "text" else group.replace("_", " ")
        }
    return {
        "n_queries": int(queries.sum()), "n_keys": int(keys.sum()),
        "n_inputs": int(tokens.loc[inside > 0, "input_id"].nunique()), "note": _note(queries, keys),
        "tokens": over_represented(tokens["text"], inside), "columns": compare_columns(tokens, named, inside),
        "numbers": compare_numbers(tokens, [name for name in columns if name not in named], inside),
        "attention": attention,
    }  # fmt: skip


def tables(heads: Sequence[Selection], lasso: dict[str, Any]) -> None:
    """The findings as tables, to read and to take away; the attention of every one of `heads`, which share a run."""
    first = heads[0]
    found = [panel_words(each, lasso, "")["lasso"] for each in heads]
    tokens = cache.tokens(first.run)
    flags = lasso["flags"].reshape(2, -1)
    points = tokens[["input_id", "position", "text"]].assign(query_inside=flags[0], key_inside=flags[1])
    with st.expander("Tables of the selection"):
        left, *others = st.columns(1 + len(heads))
        apart = [{"column": "text", **each} for each in found[0]["tokens"]] + found[0]["columns"]
        left.caption("Commoner inside than in the rest (points; shares 0 to 1; z of the log odds ratio)")
        left.dataframe(pd.DataFrame(apart), hide_index=True)
        for place, each, told in zip(others, heads, found):
            with place:
                _matrix_table(each, told["attention"], is_named=len(heads) > 1)
        inside = points[points["query_inside"] | points["key_inside"]]
        st.download_button(
            f"Download the {len(inside):,} selected tokens as CSV", lambda: inside.to_csv(index=False),
            f"{first.run}-selection.csv", "text/csv", on_click="ignore",
        )  # fmt: skip


def _matrix_table(selection: Selection, between: dict[str, Any] | None, is_named: bool) -> None:
    """The small matrix of one head; nothing where no pair is allowed."""
    if not between or not between["n_pairs"]:
        return
    name = head_name(cache.facts(selection.run).site(selection.site).depth, selection.head)
    what = "Mean attention without sinks" if selection.hides_sinks else "Mean attention"
    st.caption(f"{what}{f' of {name}' if is_named else ''}, rows are queries, columns keys (0 to 1)")
    frame = pd.DataFrame(between["means"], between["rows"], between["columns"])
    st.dataframe(frame.reset_index(names="query"), hide_index=True)


def _note(queries: np.ndarray, keys: np.ndarray) -> str:
    if not queries.any() and not keys.any():
        return "No point lies inside: draw round some points, or show what the legend hides."
    if queries.any() and keys.any():
        return ""
    missing = "keys" if queries.any() else "queries"
    return f"There are no {missing} inside, so there is no attention between queries and keys to tell."


def _group(selection: Selection) -> str:
    """What the rows of the small matrix are: the column that colours, if it has classes; else words, or for images
    the first column of classes."""
    columns = cache.run(selection.run).token_columns()
    if selection.colour in columns and columns[selection.colour].kind == "categorical":
        return selection.colour
    if cache.input_texts(selection.run):
        return "text"
    named = [name for name, info in columns.items() if info.kind == "categorical" and name != "is_special"]
    return named[0] if named else "text"

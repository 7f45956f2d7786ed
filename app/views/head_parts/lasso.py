"""The lasso of the Head page: which points it holds, what the panel says of them, and its tables."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.types import head_name
from app import cache, marks
from app.cache import hidden
from app.charts.colouring import Colouring, kept_points
from app.charts.lasso import compare_columns, compare_numbers, mean_attention, over_represented, points_inside
from app.components.scatter import as_bits
from app.state import Selection

_HELD = "head_lasso"
MOST_CORNERS = 300


def take(selection: Selection, drawn: dict[str, Any], colouring: Colouring) -> None:
    """Hold the points inside what was drawn on the map of `selection`; they are marked in every view.

    Args:
        drawn: ``polygon``, ``turn``, ``middle`` and the words of the filters, as `draw_scatter` gives them. Points
            that are filtered away are not taken.
    """
    places = cache.points(selection.run, selection.map, selection.site, selection.head)
    polygon = np.asarray(drawn["polygon"], dtype=float).reshape(-1, 2)[:MOST_CORNERS]
    kept = kept_points(colouring, drawn.get("hide"), drawn.get("range"), drawn.get("kinds"))
    inside = [
        points_inside(each, polygon, drawn.get("turn"), drawn.get("middle")) & shown
        for each, shown in zip(places, kept)
    ]
    site = cache.facts(selection.run).site(selection.site)
    title = f"lasso in {head_name(site.depth, selection.head)}"
    marks.pick_tokens(selection.run, np.flatnonzero(inside[0] | inside[1]), title)
    shape = {name: drawn.get(name) for name in ("polygon", "turn", "middle")}
    flags = np.concatenate(inside)
    st.session_state[_HELD] = {
        "run": selection.run, "flags": flags, "shape": shape, "view": drawn.get("view"), "title": title,
        "key": hashlib.blake2b(flags.tobytes(), digest_size=8).hexdigest(),
    }  # fmt: skip


def let_go() -> None:
    """Forget the lasso and what it marked."""
    if st.session_state.pop(_HELD, None) is not None:
        marks.let_go()


def held(selection: Selection, marked: marks.Marks | None) -> dict[str, Any] | None:
    """The lasso, as long as what it marked is still what is marked."""
    lasso = st.session_state.get(_HELD)
    if lasso is None or lasso["run"] != selection.run or marked is None or marked.title != lasso["title"]:
        return None
    n = len(marked.tokens)
    return lasso if np.array_equal(lasso["flags"][:n] | lasso["flags"][n:], marked.tokens) else None


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


def tables(selection: Selection, lasso: dict[str, Any]) -> None:
    """The findings as tables, to read and to take away."""
    found = panel_words(selection, lasso, "")["lasso"]
    tokens = cache.tokens(selection.run)
    flags = lasso["flags"].reshape(2, -1)
    points = tokens[["input_id", "position", "text"]].assign(query_inside=flags[0], key_inside=flags[1])
    with st.expander("Tables of the selection"):
        left, right = st.columns(2)
        apart = [{"column": "text", **each} for each in found["tokens"]] + found["columns"]
        left.caption("Commoner inside than in the rest (points; shares 0 to 1; z of the log odds ratio)")
        left.dataframe(pd.DataFrame(apart), hide_index=True)
        if found["attention"] and found["attention"]["n_pairs"]:
            between = found["attention"]
            what = "Mean attention without sinks" if selection.hides_sinks else "Mean attention"
            right.caption(f"{what}, rows are queries, columns keys (0 to 1)")
            frame = pd.DataFrame(between["means"], between["rows"], between["columns"])
            right.dataframe(frame.reset_index(names="query"), hide_index=True)
        inside = points[points["query_inside"] | points["key_inside"]]
        st.download_button(
            f"Download the {len(inside):,} selected tokens as CSV", lambda: inside.to_csv(index=False),
            f"{selection.run}-selection.csv", "text/csv", on_click="ignore",
        )  # fmt: skip


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

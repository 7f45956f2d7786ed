"""One head on one text: its table of pairs and its bipartite lines. Attention in, `alt.Chart` out."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from app.palette import KEY, QUERY, QUIET, SELECTED

LINE_TOKENS = 48
"""Most units on a side of the line picture; of longer texts a stretch is drawn, and the page says which."""

FAINTEST_LINE = 0.01
"""Weights below 1 % of a row get no line; the page says so."""

_VISIBLE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"}
_LABEL_LENGTH = 14


def visible_token(text: str) -> str:
    """A token as a reader can see it: a token of white space becomes signs, other controls their code, nothing ∅.

    Spaces round a word are left out: they are how some tokenizers mark the start of a word.
    """
    if not text:
        return "∅"
    shown = "".join(_VISIBLE.get(sign, sign) for sign in (text.strip(" ") or text))
    return "".join(sign if sign.isprintable() else f"U+{ord(sign):04X}" for sign in shown)


def short_token(text: str) -> str:
    """`visible_token`, cut for an axis; the whole of it belongs in the tooltip."""
    return cut_label(visible_token(text))


def cut_label(shown: str) -> str:
    """Visible text, cut for an axis."""
    return shown if len(shown) <= _LABEL_LENGTH else shown[: _LABEL_LENGTH - 1] + "…"


def token_gaps(text: str, tokens: pd.DataFrame) -> list[str]:
    """What stands in the text just before each token and belongs to none: the spaces between words.

    Args:
        text: The whole input.
        tokens: Its rows of the token table, by position: char_start, char_end; special tokens have no extent.
    """
    gaps, reached = [], 0
    for start, end in zip(tokens["char_start"], tokens["char_end"]):
        has_extent = pd.notna(start) and pd.notna(end) and end > start
        gaps.append(text[reached : int(start)] if has_extent else "")
        reached = max(reached, int(end)) if has_extent else reached
    return gaps


def attention_table(
    attention: Float[np.ndarray, "query key"],
    labels: list[str],
    places: list[str],
    keep: Bool[np.ndarray, "query key"],
    sides: tuple[range, range] | None = None,
) -> pd.DataFrame:
    """The matrix as a long table, one row a cell.

    Args:
        attention: Weights of query units on key units.
        labels: Visible text of every unit.
        places: Position of every unit, as in ``5`` or ``5–7``.
        keep: Cells to list: True where the query may attend to the key, or fewer.
        sides: Units to keep as queries, and as keys; all when None.

    Returns:
        Columns query, key (numbers of units), query_token, key_token, query_at, key_at, weight.
    """
    kept = [np.array(side, dtype=int) for side in sides or (range(len(labels)),) * 2]
    query, key = (units[at] for units, at in zip(kept, np.nonzero(keep[np.ix_(*kept)])))
    names, at = np.array(labels, dtype=object), np.array(places, dtype=object)
    words = {"query_token": names[query], "key_token": names[key], "query_at": at[query], "key_at": at[key]}
    return pd.DataFrame({"query": query, "key": key, **words, "weight": attention[query, key].astype(float)})


def make_lines(
    table: pd.DataFrame,
    labels: list[str],
    special: list[bool],
    picked: int | None = None,
    kind: str = "query",
    faintest: float = FAINTEST_LINE,
    marked: list[bool] | None = None,
    sinks: list[bool] | None = None,
    places: list[str] | None = None,
    sides: tuple[range, range] | None = None,
) -> alt.Chart:
    """Queries on the left, keys on the right, a line for each weight of `faintest` or more, as strong as the weight.

    The lines of the picked unit stand out; hovering over a unit shows its own instead. A click on the left picks a
    query, on the right a key: the selection ``pick`` has one of the two, or both from a click on a line.

    Args:
        table: From `attention_table`.
        labels: Visible text of every unit.
        marked: Units that stand out while the rest is dimmed; None where nothing is looked for.
        sinks: Units that are hidden as keys: on the right they are grey, with a sign; None for none.
        places: Position of every unit; their numbers where not given.
        sides: Units drawn as queries, and as keys, each column from its first on; all that the table has where not
            given.
    """
    places = places or [str(unit) for unit in range(len(labels))]
    if sides is None:
        units = sorted(set(table["query"]) | set(table["key"]))
        sides = (range(units[0], units[-1] + 1),) * 2
    ends = [
        pd.DataFrame(
            {
                "position": list(units),
                "y": range(len(units)),
                "at": [places[unit] for unit in units],
                "token": [labels[unit] for unit in units],
                "label": [cut_label(labels[unit]) for unit in units],
                "special": [special[unit] for unit in units],
                "dim": [marked is not None and not marked[unit] for unit in units],
                "sink": [sinks is not None and sinks[unit] for unit in units],
            }
        )
        for units in sides
    ]
    n_rows = max(map(len, sides))
    step = float(np.clip(440 / max(n_rows, 1), 15, 26))
    y_scale = alt.Scale(domain=[-0.6, n_rows - 0.4], reverse=True, nice=False)
    table = table.assign(query_y=table["query"] - sides[0].start, key_y=table["key"] - sides[1].start)
    layers = [_lines(table, y_scale, picked, kind, faintest)]
    layers += [
        _line_ends(of_side, side, y_scale, picked if side == kind else None)
        for of_side, side in zip(ends, ("query", "key"))
    ]
    what = "Lines from each query (left) to the keys (right)"
    return (
        alt.layer(*layers)
        .properties(width=640, height=step * n_rows, description=describe_attention(table, labels, picked, kind, what))
        .configure_view(strokeWidth=0)
    )


def describe_attention(table: pd.DataFrame, labels: list[str], picked: int | None, kind: str, what: str) -> str:
    """The alternative text: what is drawn, and the strongest weights in words."""
    chosen = table if picked is None else table[table[kind] == picked]
    top = chosen.nlargest(3, "weight")
    words = [f"{row.query_token} to {row.key_token} {row.weight:.2g}" for row in top.itertuples()]
    at = "" if chosen.empty else f" (position {chosen[f'{kind}_at'].iloc[0]})"
    whose = f" of {kind} {labels[picked]}{at}" if picked is not None else ""
    return f"{what}, {len(labels)} tokens or words. Strongest{whose}: {'; '.join(words) or 'none'}."


def pair_tips() -> list[alt.Tooltip]:
    """What a pair of `attention_table` says under the pointer."""
    return [
        alt.Tooltip("query_token:N", title="query"),
        alt.Tooltip("query_at:N", title="query position"),
        alt.Tooltip("key_token:N", title="key"),
        alt.Tooltip("key_at:N", title="key position"),
        alt.Tooltip("weight:Q", title="weight", format=".4~r"),
    ]


def _lines(table: pd.DataFrame, y_scale: alt.Scale, picked: int | None, kind: str, faintest: float) -> alt.Chart:
    own = f"datum.{kind} === {picked}" if picked is not None else "true"
    left, right = (f"(isDefined(hover.{side}) && isValid(hover.{side}[0]))" for side in ("query", "key"))
    shown = (
        f"{left} && !{right} ? datum.query === hover.query[0] : {right} && !{left} ? datum.key === hover.key[0] : {own}"
    )
    most = max(1.0, float(table["weight"].max())) if len(table) else 1.0
    shade = alt.Scale(domain=[0, most], range=[0.35, 1])
    return (
        alt.Chart(table[table["weight"] >= faintest].assign(left=0.0, right=1.0))
        .mark_rule(strokeCap="round")
        .encode(
            x=alt.X("left:Q", axis=None, scale=alt.Scale(domain=[-0.42, 1.42], nice=False)),
            x2="right:Q",
            y=alt.Y("query_y:Q", axis=None, scale=y_scale),
            y2="key_y:Q",
            opacity=alt.condition(shown, alt.Opacity("weight:Q", scale=shade, legend=None), alt.value(0.04)),
            strokeWidth=alt.StrokeWidth("weight:Q", scale=alt.Scale(domain=[0, most], range=[0.8, 5]), legend=None),
            color=alt.value(QUERY if kind == "query" else KEY),
            tooltip=pair_tips(),
        )
    )


def _line_ends(ends: pd.DataFrame, side: str, y_scale: alt.Scale, picked: int | None) -> alt.Chart:
    left = side == "query"
    if not left:
        hidden = ends["sink"]
        ends = ends.assign(
            label=ends["label"].where(~hidden, "⊘ " + ends["label"]), special=ends["special"] | hidden,
            token=ends["token"].where(~hidden, ends["token"] + " (hidden, a sink)"),
        )  # fmt: skip
    colour = alt.condition("datum.special", alt.value(QUIET), alt.value(QUERY if left else KEY))
    if picked is not None:
        tests = [{"test": f"datum.{side} === {picked}", "value": SELECTED}, {"test": "datum.special", "value": QUIET}]
        colour = alt.Color(condition=tests, value=QUERY if left else KEY)
    marks = dict(align="right" if left else "left", dx=-8 if left else 8, fontSize=13, cursor="pointer")
    chart = (
        alt.Chart(ends.rename(columns={"position": side}).assign(left=0.0 if left else 1.0))
        .mark_text(baseline="middle", **marks)
        .encode(
            x="left:Q",
            y=alt.Y("y:Q", axis=None, scale=y_scale),
            text="label:N",
            color=colour,
            opacity=alt.condition("datum.dim", alt.value(0.45), alt.value(1)),
            tooltip=[alt.Tooltip("token:N", title=side), alt.Tooltip("at:N", title="position")],
        )
    )
    if not left:
        return chart
    fields = ["query", "key"]  # layers share one selection: a mark of the other side has the other field only
    return chart.add_params(
        alt.selection_point(name="pick", fields=fields, on="click", toggle=False),
        alt.selection_point(name="hover", fields=fields, on="pointerover", clear="pointerout", empty=False),
    )

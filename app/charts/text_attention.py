"""One head on one text: heat map and bipartite lines. Attention in, `alt.Chart` out; nothing is drawn here."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from app.palette import KEY, QUERY, QUIET, SELECTED

HEAT_MAP_TOKENS = 48
"""Longest text drawn as one Altair rectangle a cell; longer ones go to the windowed canvas."""

HEAT_MAP_PIXELS = (352, 600)
"""Most height and width of the heat map's cells: with labels, all of it is seen on a screen of 1280 x 800."""

LINE_TOKENS = 48
"""Most tokens on a side of the line picture; of longer texts a stretch is drawn, and the page says which."""

FAINTEST_LINE = 0.01
"""Weights below 1 % get no line; the page says so."""

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
    shown = visible_token(text)
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
    tokens: list[str],
    allowed: Bool[np.ndarray, "query key"] | None = None,
    stretch: range | None = None,
) -> pd.DataFrame:
    """The matrix as a long table, one row a cell.

    Args:
        attention: Weights in 0..1.
        tokens: Text of every token, by position.
        allowed: True where the query may attend to the key; other cells are left out.
        stretch: Positions to keep on both sides; all when None.

    Returns:
        Columns query, key (positions), query_token, key_token (visible text), weight.
    """
    keep = np.ones(attention.shape, dtype=bool) if allowed is None else allowed.copy()
    if stretch is not None:
        inside = np.isin(np.arange(len(tokens)), list(stretch))
        keep &= inside[:, None] & inside[None, :]
    query, key = np.nonzero(keep)
    shown = np.array([visible_token(token) for token in tokens], dtype=object)
    columns = {"query": query, "key": key, "query_token": shown[query], "key_token": shown[key]}
    return pd.DataFrame({**columns, "weight": attention[query, key].astype(float)})


def make_heat_map(table: pd.DataFrame, tokens: list[str], picked: int | None = None, kind: str = "query") -> alt.Chart:
    """Rows are queries, columns are keys, colour is weight; a click picks the cell's query or key (`kind`).

    Args:
        table: From `attention_table`.
        tokens: Text of every token, by position.
        picked: Position whose row (column, for kind ``key``) is outlined.

    Returns:
        A chart with a point selection ``pick`` that returns query and key.
    """
    n = len(tokens)
    row = float(np.clip(HEAT_MAP_PIXELS[0] / max(n, 1), 7, 34))
    column = min(HEAT_MAP_PIXELS[1] / max(n, 1), 1.8 * row)
    crowded = column < 16
    domain = alt.Scale(domain=list(range(n)), paddingInner=0.06)
    words = dict(
        labelFontSize=12,
        labelOverlap=False,
        labelBound=False,
        labelBaseline="middle",
        ticks=False,
        domain=False,
    )
    words |= dict(titleFontWeight="normal", titlePadding=8, labelColor={"expr": _label_colour(picked)})
    cells = (
        alt.Chart(table)
        .mark_rect(cursor="pointer")
        .encode(
            x=alt.X(
                "key:O",
                title="key: attended to",
                scale=domain,
                axis=alt.Axis(
                    orient="top",
                    labelAngle=-90 if crowded else -55,
                    labelAlign="left",
                    labelLimit=64 if crowded else 84,
                    labelExpr="labels[datum.value]",
                    **words,
                ),
            ),
            y=alt.Y(
                "query:O",
                title="query: attends",
                scale=domain,
                axis=alt.Axis(labelLimit=110, labelExpr=_every(row, picked), **words),
            ),
            color=_weight_colour(table),
            tooltip=_tooltip(),
        )
        .add_params(alt.selection_point(name="pick", fields=["query", "key"], on="click", toggle=False))
    )
    layers = [cells] if picked is None else [cells, _outline(picked, kind, n)]
    return (
        alt.layer(*layers)
        .add_params(alt.param(name="labels", value=[short_token(token) for token in tokens]))
        .properties(
            width=column * n,
            height=row * n,
            description=describe_attention(table, tokens, picked, kind),
            autosize="pad",
        )
        .configure_view(strokeWidth=0)
    )


def make_lines(
    table: pd.DataFrame, tokens: list[str], special: list[bool], picked: int | None = None, kind: str = "query"
) -> alt.Chart:
    """Queries on the left, keys on the right, a line for each weight of 1 % or more, as wide and strong as the weight.

    The lines of the picked token stand out; hovering over a token shows its own instead. A click on the left picks a
    query, on the right a key: the selection ``pick`` has one of the two, or both from a click on a line.
    """
    positions = sorted(set(table["query"]) | set(table["key"]))
    names = [visible_token(tokens[position]) for position in positions]
    ends = pd.DataFrame(
        {
            "position": positions,
            "token": names,
            "label": [short_token(tokens[position]) for position in positions],
            "special": [special[position] for position in positions],
        }
    )
    step = float(np.clip(440 / max(len(positions), 1), 15, 26))
    y_scale = alt.Scale(domain=[positions[0] - 0.6, positions[-1] + 0.6], reverse=True, nice=False)
    layers = [_lines(table, y_scale, picked, kind)]
    layers += [_line_ends(ends, side, y_scale, picked if side == kind else None) for side in ("query", "key")]
    return (
        alt.layer(*layers)
        .properties(
            width=640,
            height=step * len(positions),
            description=describe_attention(
                table, tokens, picked, kind, "Lines from each query (left) to the keys (right)"
            ),
        )
        .configure_view(strokeWidth=0)
    )


def describe_attention(
    table: pd.DataFrame, tokens: list[str], picked: int | None, kind: str, what: str = "Heat map of attention weights"
) -> str:
    """The alternative text: what is drawn, and the strongest weights in words."""
    chosen = table if picked is None else table[table[kind] == picked]
    top = chosen.nlargest(3, "weight")
    words = [f"{row.query_token} to {row.key_token} {row.weight:.2f}" for row in top.itertuples()]
    whose = f" of {kind} {visible_token(tokens[picked])} (position {picked})" if picked is not None else ""
    return f"{what}, {len(tokens)} tokens. Strongest{whose}: {'; '.join(words) or 'none'}."


def _weight_colour(table: pd.DataFrame) -> alt.Color:
    top = float(table["weight"].max()) if len(table) else 1.0
    legend = alt.Legend(title="weight", gradientLength=160, format=".2f", titleFontWeight="normal", labelFontSize=12)
    return alt.Color("weight:Q", scale=alt.Scale(scheme="viridis", domain=[0, top or 1.0]), legend=legend)


def _label_colour(picked: int | None) -> str:
    return f"datum.value === {-1 if picked is None else picked} ? '{SELECTED}' : '{QUIET}'"


def _every(row: float, picked: int | None) -> str:
    """Labels of rows lower than a line of text: every second or so, and the picked one instead of its neighbours."""
    step = int(np.ceil(13 / row))
    if step == 1:
        return "labels[datum.value]"
    regular = f"datum.value % {step} === 0"
    if picked is not None:
        regular = f"datum.value === {picked} || ({regular} && abs(datum.value - {picked}) >= {step})"
    return f"{regular} ? labels[datum.value] : ''"


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("query_token:N", title="query"),
        alt.Tooltip("query:Q", title="query position"),
        alt.Tooltip("key_token:N", title="key"),
        alt.Tooltip("key:Q", title="key position"),
        alt.Tooltip("weight:Q", title="weight", format=".4f"),
    ]


def _outline(picked: int, kind: str, n: int) -> alt.Chart:
    ends = {"query": picked, "key": picked, "first": 0, "last": n - 1}
    frame = alt.Chart(pd.DataFrame([ends])).mark_rect(fill=None, stroke=SELECTED, strokeWidth=2)
    across = dict(x=alt.value(0), x2=alt.value("width"), y=alt.Y("query:O"))
    along = dict(y=alt.value(0), y2=alt.value("height"), x=alt.X("key:O"))
    return frame.encode(**(across if kind == "query" else along))


def _lines(table: pd.DataFrame, y_scale: alt.Scale, picked: int | None, kind: str) -> alt.Chart:
    own = f"datum.{kind} === {picked}" if picked is not None else "true"
    left, right = (f"(isDefined(hover.{side}) && isValid(hover.{side}[0]))" for side in ("query", "key"))
    shown = (
        f"{left} && !{right} ? datum.query === hover.query[0] : {right} && !{left} ? datum.key === hover.key[0] : {own}"
    )
    shade = alt.Scale(domain=[0, 1], range=[0.35, 1])
    return (
        alt.Chart(table[table["weight"] >= FAINTEST_LINE].assign(left=0.0, right=1.0))
        .mark_rule(strokeCap="round")
        .encode(
            x=alt.X("left:Q", axis=None, scale=alt.Scale(domain=[-0.42, 1.42], nice=False)),
            x2="right:Q",
            y=alt.Y("query:Q", axis=None, scale=y_scale),
            y2="key:Q",
            opacity=alt.condition(shown, alt.Opacity("weight:Q", scale=shade, legend=None), alt.value(0.04)),
            strokeWidth=alt.StrokeWidth("weight:Q", scale=alt.Scale(domain=[0, 1], range=[0.8, 5]), legend=None),
            color=alt.value(QUERY if kind == "query" else KEY),
            tooltip=_tooltip(),
        )
    )


def _line_ends(ends: pd.DataFrame, side: str, y_scale: alt.Scale, picked: int | None) -> alt.Chart:
    left = side == "query"
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
            y=alt.Y(f"{side}:Q", axis=None, scale=y_scale),
            text="label:N",
            color=colour,
            tooltip=[alt.Tooltip("token:N", title=side), alt.Tooltip(f"{side}:Q", title="position")],
        )
    )
    if not left:
        return chart
    fields = ["query", "key"]  # layers share one selection: a mark of the other side has the other field only
    return chart.add_params(
        alt.selection_point(name="pick", fields=fields, on="click", toggle=False),
        alt.selection_point(name="hover", fields=fields, on="pointerover", clear="pointerout", empty=False),
    )

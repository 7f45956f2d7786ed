"""What a picked token looks at, and who looks at it: ranked lists with the head's true weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analysis.pipeline.new_input import NEW_INPUT
from analysis.types import DECODER, ENCODER, KEY, QUERY
from app.charts.words import percent
from app.palette import KEY as KEY_COLOUR
from app.palette import QUERY as QUERY_COLOUR

LINES = ("top12", "top3", "top5", "top30", "mass50", "mass90", "none")
LINES_WORD = "lines"
"""The word of the link that says which lines are drawn, and what it may say: so many of the strongest, or the fewest
that hold so much of the attention in percent."""

MOST_LINES = 200
"""However flat a head is, no more rows and lines than these."""

_AROUND = 160


class Ends(NamedTuple):
    """The attention from one token and to it, where no more of an input is held."""

    row: Float[np.ndarray, " key"]
    column: Float[np.ndarray, " query"]


def describe_pick(
    attention: Float[np.ndarray, "query key"] | Ends,
    tokens: pd.DataFrame,
    input_id: int,
    position: int,
    kind: str,
    text: str | None,
    rule: str = LINES[0],
    hidden: Bool[np.ndarray, " key"] | None = None,
) -> dict[str, Any]:
    """The panel's content for one picked point.

    Args:
        attention: Of the head on the picked token's input, as it is drawn, or that of the token.
        tokens: The run's whole token table.
        input_id, position: The picked token.
        kind: Whether its query or its key was picked.
        text: The whole text of the input, for the context; None for images.
        rule: One of `LINES`: how many rows each list has. ``none`` draws no lines and lists as the first rule does.
        hidden: Where sinks are hidden, the keys that are; None where the attention is whole.

    Returns:
        Text, place and context of the token, and ``sees`` (keys its query looks at, strongest first) and ``seen``
        (queries that look at its key), each with the point they start from, a note on what is shown, and rows of
        point, weight (0..1, a share of that query's attention), text and position. Points count the token table:
        query of row i is i, key is i + number of tokens.
    """
    mine = np.flatnonzero(tokens["input_id"].to_numpy() == input_id)
    patches = _patches(tokens.iloc[mine])
    token, n_all = tokens.iloc[mine[position]], len(tokens)
    row, column = _ends(attention, position)
    sees = _ranked(row, mine, tokens, n_all, KEY, patches, rule)
    seen = _ranked(column, mine, tokens, 0, QUERY, patches, rule)
    return {
        "patch": patches[position],
        "text": str(token["text"]), "kind": kind,
        "point": int(mine[position]) + (0 if kind == QUERY else n_all),
        "place": _place(token, len(mine)), **_context(token, text),
        "sees": {
            "start": int(mine[position]), "rows": sees, "colour": KEY_COLOUR,
            "note": _says_of_query(sees, hidden is not None),
        },
        "seen": {
            "start": int(mine[position]) + n_all, "rows": seen, "colour": QUERY_COLOUR,
            "note": _says_of_key(seen, column, hidden is not None and bool(hidden[position])),
        },
    }  # fmt: skip


def strongest(weights: Float[np.ndarray, " other"], rule: str) -> Int[np.ndarray, " line"]:
    """The places of the weights that get a line, the strongest first, equals in order; at most `MOST_LINES`.

    Args:
        weights: Of one query over its keys, or of one key over the queries; 0 gets no line.
        rule: ``top5`` for the five largest, ``mass90`` for the fewest that hold 90 % of the sum.
    """
    order = np.argsort(-weights, kind="stable")
    order = order[weights[order] > 0]
    rule = LINES[0] if rule == "none" else rule
    if rule.startswith("mass"):
        held = np.cumsum(weights[order], dtype=float)
        wanted = float(rule.removeprefix("mass")) / 100 * (held[-1] if len(held) else 0.0)
        count = int(np.searchsorted(held, wanted * (1 - 1e-9))) + 1
    else:
        count = int(rule.removeprefix("top"))
    return order[: min(count, MOST_LINES)]


def further_links(
    attention: Float[np.ndarray, "query key"] | Ends,
    mine: Int[np.ndarray, " token"],
    n_all: int,
    position: int,
    kind: str,
    rule: str,
) -> dict[str, Any]:
    """The lines of a further picked point: where it starts, and point and weight of each end.

    Args:
        mine: Rows of the point's input in the token table, which has `n_all` rows.
        position, kind, rule: As in `describe_pick`.
    """
    row, column = _ends(attention, position)
    weights = row if kind == QUERY else column
    start, ends = (0, n_all) if kind == QUERY else (n_all, 0)
    rows = [{"point": int(mine[at]) + ends, "weight": float(weights[at])} for at in strongest(weights, rule).tolist()]
    return {"start": int(mine[position]) + start, "rows": rows}


def _ends(attention: np.ndarray | Ends, position: int) -> Ends:
    return attention if isinstance(attention, Ends) else Ends(attention[position], attention[:, position])


def _says_of_query(sees: list[dict[str, Any]], hides_sinks: bool) -> str:
    if not sees and hides_sinks:
        return "Its query looks at hidden sinks only."
    shown = sum(each["weight"] for each in sees)
    of = "its attention without sinks" if hides_sinks else "its attention"
    return f"The {_count(len(sees), 'key')} its query weighs most: {percent(shown)} of {of}."


def _says_of_key(seen: list[dict[str, Any]], column: np.ndarray, is_hidden: bool) -> str:
    if is_hidden:
        return "Its key is a sink of this head in this input, and hidden."
    received, shown = float(column.sum(dtype=float)), sum(each["weight"] for each in seen)
    n_looking = int((column > 1 / max(len(column), 1)).sum())
    return (
        f"{n_looking} of {len(column)} queries give its key more than an even share. "
        f"The {_count(len(seen), 'query')} that weigh it most give {percent(shown / received if received else 0)} of "
        "what it gets."
    )


def _count(number: int, thing: str) -> str:
    plural = {"key": "keys", "query": "queries"}[thing]
    return thing if number == 1 else f"{number} {plural}"


def _patches(mine: pd.DataFrame) -> list[list[float] | None]:
    """Left, top, width and height of each token's patch as shares of its image; None for other tokens."""
    if "row" not in mine or not (mine["row"].fillna(-1) >= 0).any():
        return [None] * len(mine)
    rows, columns = (mine[name].fillna(-1).to_numpy(dtype=int) for name in ("row", "column"))
    grid = mine["sequence"].astype(str) if "sequence" in mine else pd.Series("", index=mine.index)  # one a stage
    tall, wide = (pd.Series(at, index=mine.index).groupby(grid).transform("max") + 1 for at in (rows, columns))
    places = zip(rows.tolist(), columns.tolist(), tall.tolist(), wide.tolist())
    return [[column / w, row / h, 1 / w, 1 / h] if row >= 0 else None for row, column, h, w in places]


def _ranked(
    weights: np.ndarray, mine: np.ndarray, tokens: pd.DataFrame, offset: int, kind: str, patches: list, rule: str
) -> list[dict[str, Any]]:
    return [
        {
            "point": int(mine[at]) + offset, "weight": float(weights[at]), "text": str(tokens["text"].iloc[mine[at]]),
            "at": str(at), "patch": patches[at], "place": f"{kind} at position {at}",
            "pick": {"input": int(tokens["input_id"].iloc[mine[at]]), "token": at, "kind": kind},
        }
        for at in strongest(weights, rule).tolist()
    ]  # fmt: skip


def _place(token: pd.Series, n_tokens: int) -> str:
    grid = ""
    if pd.notna(token.get("row")) and token["row"] >= 0:
        grid = f"row {int(token['row'])}, column {int(token['column'])}, "
    place = "the new input" if token["input_id"] == NEW_INPUT else f"input {token['input_id']}"
    own = f"{token['sequence']}, " if token.get("sequence") in (ENCODER, DECODER) else ""
    return f"{own}{grid}position {token['position']} of 0–{n_tokens - 1} in {place}"


def _context(token: pd.Series, text: str | None) -> dict[str, str]:
    if not text or pd.isna(token["char_start"]) or token["char_end"] <= token["char_start"]:
        return {"before": "", "after": ""}
    start, end = int(token["char_start"]), int(token["char_end"])
    before, after = text[max(start - _AROUND, 0) : start], text[end : end + _AROUND]
    return {
        "before": ("…" if start > _AROUND else "") + before,
        "after": after + ("…" if end + _AROUND < len(text) else ""),
        "text": text[start:end],
    }

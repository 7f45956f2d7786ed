"""The ranked table of sinks, and the tokens that speak for a mark. Frames in, plain rows out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analysis.sinks.groups import CLASS, POSITION, STRING
from app.charts.text_attention import visible_token

GROUPS = {STRING: "String", CLASS: "Class", POSITION: "Position"}
"""How the table groups tokens; words of the link and of the page."""

MOST_ROWS = 8
AROUND = 46
"""Letters of context on either side."""


def ranked(overall: pd.DataFrame, group: str, most: int | None = None) -> pd.DataFrame:
    """The rows of one way to group tokens, the highest score first.

    Args:
        overall: Of `analysis.sinks.SinkFindings`.
        group: One of `GROUPS`.
    """
    rows = overall[overall["kind"] == group].sort_values("score", ascending=False, kind="stable")
    return (rows if most is None else rows.head(most)).reset_index(drop=True)


def value_of(row: Any, group: str) -> str:
    """What a row is called in the link: its class, its string or its position."""
    return str(int(row.position)) if group == POSITION else str(row.token)


def row_name(row: Any, group: str) -> str:
    """What a row is called on the page: ``BOS``, ``the``, ``position 0 · <bos>``."""
    if group != POSITION:
        return visible_token(str(row.token)) if group == STRING else str(row.token)
    text = "" if row.token is None or pd.isna(row.token) else f" · {visible_token(str(row.token))}"
    return f"position {int(row.position)}{text}"


def members(group: str, value: str, tokens: pd.DataFrame, classes: np.ndarray) -> Bool[np.ndarray, " point"]:
    """The tokens that a row of the table stands for."""
    if group == CLASS:
        return np.asarray(classes == value, dtype=bool)
    if group == STRING:
        return (tokens["text"].astype(str) == value).to_numpy(dtype=bool)
    return tokens["position"].to_numpy() == int(value) if value.isascii() and value.isdigit() else _none(tokens)


def examples(
    score: Float[np.ndarray, " point"],
    chosen: Bool[np.ndarray, " point"],
    apart: np.ndarray,
    most: int = 4,
) -> Int[np.ndarray, " found"]:
    """The tokens with the highest score, at most one of each kind.

    Args:
        score: NaN where a token has none.
        chosen: Only these.
        apart: What each token is of: its input, its string.
    """
    rows = np.flatnonzero(chosen & np.isfinite(score))
    rows = rows[np.argsort(-score[rows], kind="stable")]
    first = np.unique(apart[rows].astype(str), return_index=True)[1]
    return rows[np.sort(first)[:most]]


@dataclass(frozen=True)
class Example:
    """One token where it stands.

    Attributes:
        row: In the token table.
        input, token: Its input and its position there.
        before, text, after: The token and what is around it; of images only the text.
        place: Where it is.
        patch: Left, top, width and height as shares of the image, or None.
        value: What it receives, 0..1.
    """

    row: int
    input: int
    token: int
    before: str
    text: str
    after: str
    place: str
    patch: list[float] | None
    value: float

    def as_dict(self) -> dict[str, Any]:
        """For the browser."""
        return dict(vars(self))


def describe_tokens(
    rows: Int[np.ndarray, " found"], values: Float[np.ndarray, " found"], tokens: pd.DataFrame, texts: Mapping[int, str]
) -> list[Example]:
    """Tokens with what is around them.

    Args:
        rows: In the token table.
        values: What each receives.
        texts: The texts by input id; empty for images.
    """
    found = []
    for row, value, token in zip(rows.tolist(), values.tolist(), tokens.iloc[rows].to_dict("records"), strict=True):
        input_id = int(token["input_id"])
        before, text, after = _context(token, texts.get(input_id))
        place, patch = _place(token, tokens, input_id)
        found.append(Example(row, input_id, int(token["position"]), before, text, after, place, patch, float(value)))
    return found


def _context(token: dict[str, Any], text: str | None) -> tuple[str, str, str]:
    start, end = token.get("char_start"), token.get("char_end")
    if not text:
        return "", str(token["text"]), ""
    if pd.isna(start) or pd.isna(end) or end <= start:
        at_start = token["position"] == 0
        beginning, ending = text[: 2 * AROUND], text[-2 * AROUND :]
        more = len(text) > 2 * AROUND
        before = "" if at_start else ("…" if more else "") + ending
        return before, str(token["text"]), beginning + ("…" if more else "") if at_start else ""
    start, end = int(start), int(end)
    before, after = text[max(start - AROUND, 0) : start], text[end : end + AROUND]
    return ("…" if start > AROUND else "") + before, text[start:end], after + ("…" if end + AROUND < len(text) else "")


def _place(token: dict[str, Any], tokens: pd.DataFrame, input_id: int) -> tuple[str, list[float] | None]:
    row, column = token.get("row"), token.get("column")
    if row is None or pd.isna(row) or row < 0:
        return f"position {token['position']}", None
    mine = tokens[tokens["input_id"] == input_id]
    tall, wide = int(mine["row"].max()) + 1, int(mine["column"].max()) + 1
    patch = [int(column) / wide, int(row) / tall, 1 / wide, 1 / tall]
    return f"row {int(row)}, column {int(column)}", patch


def _none(tokens: pd.DataFrame) -> np.ndarray:
    return np.zeros(len(tokens), dtype=bool)

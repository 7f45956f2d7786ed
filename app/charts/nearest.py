"""The nearest vectors to one of them in a head's own space, exactly, and what to say of each. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analysis.types import KEY

_CHUNK = 65_536
"""Rows looked at together, so that a million points take no more memory than these."""

_AROUND = 46


class Nearest(NamedTuple):
    """The vectors nearest to one.

    Attributes:
        rows: Their rows, nearest first; of equal distances the earlier row.
        distances: Euclidean, 0 or more; 0 is the same vector.
        typical: The median distance of all other vectors: what is far under it is near.
    """

    rows: Int[np.ndarray, " found"]
    distances: Float[np.ndarray, " found"]
    typical: float


def nearest(
    vectors: Float[np.ndarray, "point d_head"], row: int, n: int, among: Bool[np.ndarray, " point"] | None = None
) -> Nearest:
    """The `n` vectors with the least Euclidean distance to the one at `row`, which itself is not among them.

    Args:
        vectors: All queries, or all keys, of one head.
        n: Fewer come back where there are fewer.
        among: Only these rows may be found; `typical` is over all rows in any case.
    """
    squares = _squares(vectors, vectors[row])
    others = np.ones(len(vectors), dtype=bool) if among is None else among.copy()
    others[row] = False
    return _least(squares, np.delete(squares, row), n, others)


def nearest_to(
    vectors: Float[np.ndarray, "point d_head"],
    vector: Float[np.ndarray, " d_head"],
    n: int,
    among: Bool[np.ndarray, " point"] | None = None,
) -> Nearest:
    """As `nearest`, of a vector that is none of these rows."""
    squares = _squares(vectors, vector)
    return _least(squares, squares, n, np.ones(len(vectors), dtype=bool) if among is None else among)


def _squares(vectors: Float[np.ndarray, "point d_head"], vector: Float[np.ndarray, " d_head"]) -> np.ndarray:
    """Squared distances. Differences are squared as they are, not through products, so that near vectors of large norm
    keep their digits."""
    squares = np.empty(len(vectors), dtype=np.float64)
    for first in range(0, len(vectors), _CHUNK):
        apart = vectors[first : first + _CHUNK] - vector
        squares[first : first + _CHUNK] = np.einsum("ij,ij->i", apart, apart)
    return squares


def _least(squares: np.ndarray, known: np.ndarray, n: int, among: np.ndarray) -> Nearest:
    """The `n` least of the squares `among`; the median of the `known`."""
    known = known[np.isfinite(known)]
    typical = float(np.sqrt(np.median(known))) if len(known) else float("nan")
    rows = np.flatnonzero(among)
    if 0 < n < len(rows):
        rows = rows[squares[rows] <= np.partition(squares[rows], n - 1)[n - 1]]
    rows = rows[np.argsort(squares[rows], kind="stable")][:n]
    return Nearest(rows, np.sqrt(squares[rows]), typical)


def describe_found(found: Nearest, tokens: pd.DataFrame, kind: str, texts: dict[int, str]) -> list[dict[str, Any]]:
    """What a list shows of each found token.

    Args:
        tokens: The run's token table.
        kind: Whether they are queries or keys.
        texts: The texts by input id; empty for images.

    Returns:
        One plain dict a row: `point` (the row, plus the number of tokens for a key), `distance`, `text` with `before`
        and `after` (the words around it), `input`, `place`, `patch` (left, top, width and height as shares of the
        image, or None) and `pick`.
    """
    offset = len(tokens) if kind == KEY else 0
    rows = tokens.iloc[found.rows].to_dict("records")
    grids = {} if texts else _grids(tokens, {int(row["input_id"]) for row in rows})
    return [
        {
            "point": int(at) + offset, "distance": float(distance), "input": int(token["input_id"]),
            **_context(token, texts.get(int(token["input_id"]))), **_place(token, grids),
            "pick": {"input": int(token["input_id"]), "token": int(token["position"]), "kind": kind},
        }
        for at, distance, token in zip(found.rows, found.distances, rows)
    ]  # fmt: skip


def _context(token: dict, text: str | None) -> dict[str, str]:
    if not text or pd.isna(token["char_start"]) or token["char_end"] <= token["char_start"]:
        return {"text": str(token["text"]), "before": "", "after": ""}
    start, end = int(token["char_start"]), int(token["char_end"])
    before, after = text[max(start - _AROUND, 0) : start], text[end : end + _AROUND]
    return {
        "text": text[start:end],
        "before": ("…" if start > _AROUND else "") + before,
        "after": after + ("…" if end + _AROUND < len(text) else ""),
    }


def _place(token: dict, grids: dict[int, tuple[int, int]]) -> dict[str, Any]:
    if pd.isna(token.get("row")) or token["row"] < 0:
        return {"place": f"position {token['position']}", "patch": None}
    row, column = int(token["row"]), int(token["column"])
    tall, wide = grids.get(int(token["input_id"]), (row + 1, column + 1))
    return {"place": f"row {row}, column {column}", "patch": [column / wide, row / tall, 1 / wide, 1 / tall]}


def _grids(tokens: pd.DataFrame, inputs: set[int]) -> dict[int, tuple[int, int]]:
    """Rows and columns of patches of these images."""
    mine = tokens[tokens["input_id"].isin(inputs)]
    last = mine.groupby("input_id")[["row", "column"]].max().fillna(0).astype(int) + 1
    return {int(at): (int(row), int(column)) for at, row, column in last.itertuples()}

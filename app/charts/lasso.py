"""What a lasso holds: the points inside a polygon, and what sets them apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

N_GROUPS = 12
"""Rows and columns of the small matrix at most."""

N_LISTED = 8
"""Over-represented tokens and values told."""

PRIOR_POINTS = 20.0
"""Weight of the prior: as if so many points with the mix of all points had been seen on either side."""

MOST_VALUES = 60
"""A column with more different values than this is left out of the comparison of values."""


def points_inside(
    places: Float[np.ndarray, "point dims"],
    polygon: Float[np.ndarray, "corner 2"],
    turn: Sequence[float] | None = None,
    middle: Sequence[float] | None = None,
) -> Bool[np.ndarray, " point"]:
    """Which points a polygon holds, by the even-odd rule: a ray to the right crosses its border an odd number of times.

    Args:
        places: On the map.
        polygon: Corners in order, the last joined to the first; in the plane of the screen, relative to `middle`.
        turn: Rotation of a 3-D map, nine numbers column by column; None where the map is flat.
        middle: What lies at the origin of the polygon's plane; None for the map's own origin.

    Returns:
        [point] true inside. A polygon of fewer than three corners holds nothing.
    """
    inside = np.zeros(len(places), dtype=bool)
    if len(polygon) < 3:
        return inside
    shifted = np.asarray(places, dtype=float) - (0.0 if middle is None else np.asarray(middle)[: places.shape[1]])
    plane = shifted[:, :2] if turn is None or places.shape[1] < 3 else (shifted @ np.reshape(turn, (3, 3)))[:, :2]
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    near = np.flatnonzero(((plane >= low) & (plane <= high)).all(axis=1))
    x, y = plane[near].T
    odd = np.zeros(len(near), dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    inside[near] = odd
    return inside


def over_represented(
    values: pd.Series, inside: Int[np.ndarray, " token"], n_listed: int = N_LISTED
) -> list[dict[str, Any]]:
    """The values that are commoner inside a selection than in the rest, the clearest first.

    Ranked by the z score of the log odds ratio under a Dirichlet prior with the mix of all points (Monroe, Colaresi
    and Quinn 2008, equations 16, 19 and 22), so that neither a rare accident nor sheer frequency leads. Only values
    with z above 1.96 are told.

    Args:
        values: One a token; missing ones are left out.
        inside: How many of the token's two points are inside: 0, 1 or 2.

    Returns:
        For each value: ``value``, ``inside`` and ``outside`` (points), ``share_inside`` and ``share_outside`` (0 to
        1), ``z``.
    """
    codes, names = pd.factorize(values.astype("string"))
    known = codes >= 0
    n_inside = np.bincount(codes[known], weights=inside[known], minlength=len(names))
    n_outside = np.bincount(codes[known], weights=2 - inside[known], minlength=len(names))
    if not n_inside.sum() or not n_outside.sum():
        return []
    prior = PRIOR_POINTS * (n_inside + n_outside) / (n_inside + n_outside).sum()
    odds = [(n + prior) / (n.sum() + PRIOR_POINTS - n - prior + 1e-12) for n in (n_inside, n_outside)]
    z = np.log(odds[0] / odds[1]) / np.sqrt(1 / (n_inside + prior) + 1 / (n_outside + prior))
    order = [at for at in np.argsort(-z, kind="stable")[:n_listed] if z[at] > 1.96 and n_inside[at]]
    return [
        {
            "value": str(names[at]), "inside": int(n_inside[at]), "outside": int(n_outside[at]),
            "share_inside": float(n_inside[at] / n_inside.sum()),
            "share_outside": float(n_outside[at] / n_outside.sum()), "z": float(z[at]),
        }
        for at in order
    ]  # fmt: skip


def compare_columns(
    tokens: pd.DataFrame, columns: Sequence[str], inside: Int[np.ndarray, " token"], n_listed: int = N_LISTED
) -> list[dict[str, Any]]:
    """The column values that are commoner inside than outside, over all columns of few values, the clearest first."""
    told = []
    for name in columns:
        values = tokens[name]
        if values.nunique() <= MOST_VALUES:
            told += [{"column": name, **each} for each in over_represented(values, inside, 3)]
    return sorted(told, key=lambda each: -each["z"])[:n_listed]


def compare_numbers(
    tokens: pd.DataFrame, columns: Sequence[str], inside: Int[np.ndarray, " token"], n_listed: int = 4
) -> list[dict[str, Any]]:
    """The numeric columns whose mean differs most inside and outside.

    Returns:
        For each column: ``column``, ``inside`` and ``outside`` (means over points), ``difference`` (in standard
        deviations of all points), the largest first; differences under 0.2 are left out.
    """
    told = []
    for name in columns:
        values = tokens[name]
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            continue
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        known = np.isfinite(numbers)
        weights = inside[known].astype(float)
        if not weights.sum() or not (2 - weights).sum() or not (spread := numbers[known].std()):
            continue
        means = [float(np.average(numbers[known], weights=each)) for each in (weights, 2 - weights)]
        difference = (means[0] - means[1]) / spread
        told.append({"column": name, "inside": means[0], "outside": means[1], "difference": difference})
    told = [each for each in told if abs(each["difference"]) >= 0.2]
    return sorted(told, key=lambda each: -abs(each["difference"]))[:n_listed]


def mean_attention(
    inputs: Sequence[tuple],
    queries: Bool[np.ndarray, " token"],
    keys: Bool[np.ndarray, " token"],
    groups: pd.Series,
) -> dict[str, Any]:
    """Mean attention between selected queries and selected keys of the same input, in all and by group.

    Args:
        inputs: For each input its rows in the token table, the attention and where it is allowed; of a long one for
            each window of its queries, with the rows of these first of all.
        queries, keys: The selected ones, in token-table order.
        groups: What the rows and columns of the matrix are, one value a token.

    Returns:
        ``mean`` and ``n_pairs`` over all allowed pairs, ``elsewhere`` (mean of the same queries on all keys they may
        attend to), ``rows`` and ``columns`` (the commonest groups of the selected queries and keys, at most
        `N_GROUPS`), ``means`` and ``pairs`` ``[row][column]`` (None where no pair is allowed), ``n_rows`` and
        ``n_columns`` (groups there are in all).
    """
    codes, names = pd.factorize(groups.astype("string").fillna("no value"))
    sides = [_commonest(codes[chosen]) for chosen in (queries, keys)]
    sums, pairs = np.zeros((2, len(sides[0][0]), len(sides[1][0])))
    total = n_pairs = everywhere = n_everywhere = 0.0
    for *own, rows, attention, allowed in inputs:
        of_queries = own[0] if own else rows
        q, k = np.flatnonzero(queries[of_queries]), np.flatnonzero(keys[rows])
        if not len(q):
            continue
        open_ = allowed[q]
        everywhere, n_everywhere = everywhere + float(attention[q][open_].sum(dtype=float)), n_everywhere + open_.sum()
        block, open_ = attention[np.ix_(q, k)] * allowed[np.ix_(q, k)], open_[:, k].astype(float)
        total, n_pairs = total + float(block.sum(dtype=float)), n_pairs + open_.sum()
        of_rows = codes[of_queries][q][:, None] == sides[0][0]
        of_columns = codes[rows][k][:, None] == sides[1][0]
        sums += of_rows.T.astype(float) @ block.astype(float) @ of_columns
        pairs += of_rows.T.astype(float) @ open_ @ of_columns
    return {
        "mean": total / n_pairs if n_pairs else None, "n_pairs": int(n_pairs),
        "elsewhere": everywhere / n_everywhere if n_everywhere else None,
        "rows": [str(names[code]) for code in sides[0][0]], "columns": [str(names[code]) for code in sides[1][0]],
        "means": [[s / p if p else None for s, p in zip(*both)] for both in zip(sums.tolist(), pairs.tolist())],
        "pairs": pairs.astype(int).tolist(), "n_rows": sides[0][1], "n_columns": sides[1][1],
    }  # fmt: skip


def _commonest(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """The commonest codes, ties in the order they first appear, and how many different ones there are."""
    counts = pd.Series(codes).value_counts(sort=False)
    ordered = counts.sort_values(ascending=False, kind="stable")
    return ordered.index.to_numpy()[:N_GROUPS], len(ordered)

"""The rhythm of a text: where its local heads reach back, and which tokens its global heads return to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.errors import UserError


@dataclass(frozen=True, slots=True)
class Windows:
    """Settings; the defaults are the published ones as far as they are known (see `influence`).

    Attributes:
        share: Of the heads, the share that is called local, and the same share that is called global.
        window: Keys farther back count as so many tokens in the windowed distance.
        nearest: Influence counts queries at least so many tokens later.
        farthest: Influence counts queries at most so many tokens later.
        first: Position of the first query that counts: that of the response where a prompt comes first.
    """

    share: float = 0.3
    window: int = 10
    nearest: int = 10
    farthest: int = 50
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise UserError(f"The share of local and of global heads is {self.share:g}; give more than 0, at most 0.5.")
        if self.window < 1 or self.first < 0 or not 1 <= self.nearest <= self.farthest:
            raise UserError(
                f"The window is {self.window} tokens, the influence {self.nearest} to {self.farthest} tokens later and "
                f"the first query {self.first}; give a window of 1 or more, 1 <= nearest <= farthest, first 0 or more."
            )


PUBLISHED = Windows()


class Influence(NamedTuple):
    """What `influence` finds on one text.

    Attributes:
        distance: Mean distance of each head, in tokens.
        local: Places of the local heads, the nearest-looking first.
        far: Places of the global heads, the farthest-looking first.
        waad_tokens: Of each token as a query, 0 to the window; NaN before the first query that counts.
        fai: Of each token as a key, 0 to 1; NaN where no query that counts is far enough behind it.
    """

    distance: Float[np.ndarray, " head"]
    local: Int[np.ndarray, " n_local"]
    far: Int[np.ndarray, " n_far"]
    waad_tokens: Float[np.ndarray, " token"]
    fai: Float[np.ndarray, " token"]


def influence(
    each_head: Callable[[], Iterable[Float[np.ndarray, "token token"]]], windows: Windows = PUBLISHED
) -> Influence:
    """Windowed average attention distance and future attention influence of the tokens of one text.

    The heads are ranked by how far back they look on this text; `windows.share` of them at either end, one at least,
    are the local and the global heads, and the two measures are taken of the mean map of each group.

    Args:
        each_head: Called twice; gives the attention of every head in turn, causal, so that one map is held at a time.
        windows: The settings.

    Returns:
        The figures; both measures and the groups follow the paper. Which queries count is `windows.first` on: all of
        the text unless a prompt is known. Head groups are of this one text, where the paper takes them over many.

    Raises:
        UserError: A head looks at later tokens, or there are fewer than two heads or no query that counts.

    Source: "Attention Illuminates LLM Reasoning: The Preplan-and-Anchor Rhythm Enables Fine-Grained Policy
        Optimization" (2025) for d(l, h), WAAD, FAI and the share of 30 %; the window of 10 and the reach of 10 to 50
        tokens are those of one reimplementation.
    """
    distance = np.array([backward_distance(attention[None], windows.first)[0] for attention in each_head()])
    if len(distance) < 2:
        raise UserError(f"Local and global heads need two heads or more, and there is {len(distance)}.")
    local, far = local_and_global(distance, windows.share)
    n, near_map, far_map = 0, None, None
    chosen_local, chosen_far = set(local.tolist()), set(far.tolist())
    for place, attention in enumerate(each_head()):
        n = len(attention)
        if place in chosen_local:
            near_map = attention.astype(np.float64) if near_map is None else near_map + attention
        if place in chosen_far:
            far_map = attention.astype(np.float64) if far_map is None else far_map + attention
    waad = windowed_distance(near_map / len(local), windows.window)
    waad[np.arange(n) < windows.first] = np.nan
    fai = future_influence(far_map / len(far), windows.nearest, windows.farthest, windows.first)
    return Influence(distance, local, far, waad, fai)


def influence_in_windows(
    heads: Iterable[Iterable[tuple[int, Float[np.ndarray, "_query _token"]]]], windows: Windows = PUBLISHED
) -> Influence:
    """`influence` of a text whose maps are not held.

    Args:
        heads: Of every head, windows of its map in order: the position of the first query, and the rows.
        windows: The settings.

    Raises:
        UserError: As `influence`.
    """
    found = [_of_head(head, windows) for head in heads]
    distance = np.array([one for one, _, _ in found])
    if len(distance) < 2:
        raise UserError(f"Local and global heads need two heads or more, and there is {len(distance)}.")
    local, far = local_and_global(distance, windows.share)
    waad = np.mean([found[place][1] for place in local], axis=0)
    waad[np.arange(len(waad)) < windows.first] = np.nan
    return Influence(distance, local, far, waad, np.mean([found[place][2] for place in far], axis=0))


def _of_head(
    parts: Iterable[tuple[int, Float[np.ndarray, "_query _token"]]], windows: Windows
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean distance back, windowed distance and future influence of one head; the last two are linear in the map."""
    total, n_counted, waad, sums = 0.0, 0, [], None
    for first, weights in parts:
        n_queries, n_keys = weights.shape
        if sums is None:
            sums, count = np.zeros(n_keys), np.zeros(n_keys)
        if np.triu(weights, first + 1).any():
            raise UserError(NOT_CAUSAL)
        rows, places = weights.astype(np.float64), np.arange(first, first + n_queries)
        mass, at = (rows @ np.stack([np.ones(n_keys), np.arange(n_keys, dtype=np.float64)], axis=1)).T
        far_back = places * mass - at
        counted = slice(max(windows.first - first, 0), None)
        total, n_counted = total + float(far_back[counted].sum()), n_counted + len(far_back[counted])
        waad.append(_windowed(rows, mass, places, windows.window))
        for offset in range(windows.nearest, min(windows.farthest, n_keys - 1) + 1):
            queries = np.arange(max(first, windows.first, offset), first + n_queries)
            sums[queries - offset] += rows[queries - first, queries - offset]
            count[queries - offset] += 1
    if not n_counted:
        raise UserError(_none_counts(windows.first, sum(map(len, waad))))
    influence_on = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return total / n_counted, np.concatenate(waad), influence_on


def _windowed(rows: np.ndarray, mass: np.ndarray, places: np.ndarray, window: int) -> np.ndarray:
    """`windowed_distance` of some rows: all counts as the window, less what nearer keys count less."""
    found = window * mass
    for back in range(min(window, int(places[-1]) + 1)):
        has = places >= back
        found[has] -= (window - back) * rows[np.flatnonzero(has), places[has] - back]
    return found


NOT_CAUSAL = "This attention looks at later tokens: distance back, WAAD and FAI are defined for causal attention only."


def _none_counts(first: int, n_queries: int) -> str:
    return f"The first query that counts is {first}, and the text has tokens 0 to {n_queries - 1}."


def backward_distance(attention: Float[np.ndarray, "head query key"], first: int = 0) -> Float[np.ndarray, " head"]:
    """How far back each head looks, in tokens: the mean over queries t of sum_s A_ts (t - s).

    Args:
        attention: Causal weights, 0..1.
        first: Queries before this position do not count.

    Returns:
        0 (each token looks at itself) to the mean position of the queries (all look at the first token).

    Raises:
        UserError: Some query looks at a later token, or none counts.

    Source: d(l, h) of "Attention Illuminates LLM Reasoning" (2025).
    """
    n_queries, n_keys = attention.shape[1:]
    if first >= n_queries:
        raise UserError(_none_counts(first, n_queries))
    if np.triu(attention, 1).any():
        raise UserError(NOT_CAUSAL)
    # sum_s A_ts (t - s) = t sum_s A_ts - sum_s A_ts s: two products with a vector instead of a second matrix.
    both = attention @ np.stack([np.ones(n_keys), np.arange(n_keys)], axis=1).astype(attention.dtype)
    behind = np.arange(n_queries) * both[..., 0].astype(np.float64) - both[..., 1]
    return behind[:, first:].mean(axis=1)


def local_and_global(
    distance: Float[np.ndarray, " head"], share: float = 0.3
) -> tuple[Int[np.ndarray, " n_local"], Int[np.ndarray, " n_far"]]:
    """The heads that look nearest, and those that look farthest.

    Args:
        distance: Mean distance back of two heads or more, in tokens.
        share: Of the heads, at either end; rounded down, one at least. At most 0.5, so that no head is in both.

    Returns:
        Places of the local heads, nearest first, and of the global heads, farthest first; the earlier head first where
        two are alike.
    """
    size = max(1, int(np.floor(share * len(distance) + 1e-9)))
    order = np.argsort(distance, kind="stable")
    far = np.setdiff1d(np.arange(len(distance)), order[:-size])
    return order[:size], far[np.argsort(-distance[far], kind="stable")]


def windowed_distance(mean_map: Float[np.ndarray, "query key"], window: int = 10) -> Float[np.ndarray, " query"]:
    """WAAD: how far back each token looks, counting what is farther than the window as the window.

    Args:
        mean_map: Mean weights of the local heads, causal.
        window: In tokens.

    Returns:
        sum_s A_ts min(t - s, window): 0 (only itself) to `window` (all weight that far back or farther). A peak is a
        token before which the local context broke off, as at the start of a phrase.

    Source: as `influence`.
    """
    n_queries, n_keys = mean_map.shape
    behind = np.arange(n_queries)[:, None] - np.arange(n_keys)[None, :]
    return np.einsum("qk,qk->q", mean_map.astype(np.float64), np.clip(behind, 0, window))


def future_influence(
    mean_map: Float[np.ndarray, "query key"], nearest: int = 10, farthest: int = 50, first: int = 0
) -> Float[np.ndarray, " key"]:
    """FAI: how much later tokens, some way on, still look at each token.

    Args:
        mean_map: Mean weights of the global heads, causal. A query whose sliding window has left the key behind
            counts with the weight it has, 0.
        nearest: Queries at least so many tokens later count.
        farthest: Queries at most so many tokens later count.
        first: Queries before this position do not count.

    Returns:
        Mean over t with s + nearest <= t <= min(last, s + farthest) of A_ts, 0..1; NaN where there is no such t, as
        for the last `nearest` tokens. A peak is a token that the rest of the text hangs on.

    Source: as `influence`.
    """
    n = len(mean_map)
    total, count = np.zeros(n), np.zeros(n)
    for offset in range(nearest, min(farthest, n - 1) + 1):
        keys = np.arange(max(0, first - offset), n - offset)
        total[keys] += mean_map[keys + offset, keys]
        count[keys] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def peaks(values: Float[np.ndarray, " token"], quantile: float = 0.8) -> Bool[np.ndarray, " token"]:
    """Tokens that stand above both neighbours and in the upper part of the text.

    Args:
        values: One a token; NaN is no neighbour.
        quantile: A peak is at least at this quantile of the known values. Ours: the paper gives no rule.

    Returns:
        True at peaks; of equal neighbours the first. None where all values are alike.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), dtype=bool)
    filled = np.where(known, values, -np.inf)
    before, after = np.r_[-np.inf, filled[:-1]], np.r_[filled[1:], -np.inf]
    high = filled >= np.quantile(values[known], quantile)
    return known & high & (filled > before) & (filled >= after) & (filled > values[known].min())

"""How far a layout can be believed: figures that stand beside every map.

Only pairs that may attend count: same input, mask respected, and the problem's target. NaN means that the figure is
not defined for this head (nothing to explain, or too few points); it is never replaced by a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from analysis.projection.problem import N_NEIGHBOURS, HeadProblem, Layout, attention_extent

FIGURES = ("kl_explained", "key_only_kl", "mass3_skill", "recall3_content", "kept_queries", "kept_keys", "mix")

POPULARITY_STEPS = 50
"""Steps of `popularity`; with causal masks the figure then moves by less than 0.001."""


def measure(problem: HeadProblem, layout: Layout) -> dict[str, float]:
    """All figures of one map of one head.

    Returns:
        kl_explained: See `kl_explained`; 1 perfect, 0 no better than uniform, below 0 worse.
        key_only_kl: See `key_only_kl`; what no map at all explains; compare with kl_explained.
        mass3_skill: See `attended_nearby`; 1 as good as can be, 0 chance.
        recall3_content: See `attended_nearby`; 0 to 1, high is good.
        kept_queries, kept_keys: See `kept`; 0 to 1, high is good.
        mix: See `mix`; 0 separate clouds, about 0.5 fully mixed; neither is better.
    """
    return {**figures_of([attention_sums(problem, layout)]), **neighbour_figures(problem, layout)}


def attention_sums(problem: HeadProblem, layout: Layout) -> dict[str, float]:
    """What the figures that read attention are made of, each a sum over queries; see `figures_of`.

    Sums over parts of a head (its inputs in any division) are added before they are divided, so that any division
    gives the figures of the whole.
    """
    from analysis.projection.kernels.reading import popularity

    pairs = problem.pairs
    entropy, ceiling = attention_extent(problem)
    popular = popularity(pairs.first, pairs.length, pairs.offset, pairs.target, POPULARITY_STEPS)
    return {
        "n_points": float(problem.n_points),
        "ceiling": ceiling,
        "to_map": read_as(problem, layout, *reading(problem, layout)) + entropy,
        "to_popularity": popular + entropy,
        **attended_sums(problem, layout),
    }


def figures_of(sums: Sequence[dict[str, float]]) -> dict[str, float]:
    """``kl_explained``, ``key_only_kl``, ``mass3_skill`` and ``recall3_content`` from the sums of all parts."""
    total = {name: float(sum(part[name] for part in sums)) for name in sums[0]}
    least = 1e-6 * max(total["n_points"], 1)
    explained = total["ceiling"] > least
    return {
        "kl_explained": float(1 - total["to_map"] / total["ceiling"]) if explained else float("nan"),
        "key_only_kl": float(1 - total["to_popularity"] / total["ceiling"]) if explained else float("nan"),
        **attended_figures(total),
    }


def neighbour_figures(problem: HeadProblem, layout: Layout) -> dict[str, float]:
    """The figures of `measure` that look for neighbours; exact: the true ones are found by comparing every pair."""
    return {
        "kept_queries": kept(problem.queries, problem.query_neighbours, layout.queries),
        "kept_keys": kept(problem.keys, problem.key_neighbours, layout.keys),
        "mix": mix(layout),
    }


def kl_explained(problem: HeadProblem, layout: Layout) -> float:
    """``1 - KL(attention || map) / KL(attention || uniform)``, each KL summed over the queries of all inputs.

    The map says attention by its distances (`reading`). A query with one allowed key, as the first of every causal
    input, has nothing to explain and adds 0 to both sums.

    Returns:
        1 when the map says the attention exactly, 0 when it is no better than uniform attention over the allowed
        keys, below 0 when it is worse. NaN when the attention is uniform everywhere (the divisor is 0).
    """
    entropy, ceiling = attention_extent(problem)
    if ceiling <= 1e-6 * max(problem.n_points, 1):
        return float("nan")
    return 1.0 - (read_as(problem, layout, *reading(problem, layout)) + entropy) / ceiling


def read_as(problem: HeadProblem, layout: Layout, power: int, sigma: float) -> float:
    """Cross-entropy of the attention and what the distances say, summed over queries, in nats."""
    from analysis.projection.kernels.reading import read_cross_entropy

    pairs = problem.pairs
    x, y = np.ascontiguousarray(layout.queries), np.ascontiguousarray(layout.keys)
    return read_cross_entropy(x, y, pairs.first, pairs.length, pairs.offset, pairs.target, power, sigma)


def reading(problem: HeadProblem, layout: Layout) -> tuple[int, float]:
    """The kernel that turns distance into attention, as ``(power, sigma)`` of `read_cross_entropy`.

    A map trained on attention brings its own. Any other (UMAP, t-SNE, PCA) is read the kindest way: power 8 with the
    sigma, of 16 between a quarter of and 64 times the typical distance, that explains most.
    """
    given = layout.parameters.get("reading")
    if given:
        return int(given["power"]), float(given["sigma"])
    union = np.vstack([layout.queries, layout.keys]).astype(np.float64)
    typical = np.sqrt(2 * union.var(axis=0).sum()) or 1.0
    sigmas = typical * np.geomspace(0.25, 64, 16)
    costs = [read_as(problem, layout, 8, sigma) for sigma in sigmas]
    return 8, float(sigmas[int(np.argmin(costs))])


def key_only_kl(problem: HeadProblem) -> float:
    """KL explained by the popularity of keys alone: every query of an input given the same order of keys.

    The popularity of each key is the best possible one, so no map that ignores the query does better. It stands
    beside `kl_explained`, which flatters heads that look at one sink.

    Returns:
        0 to 1: 1 when all queries of an input attend alike, 0 when no key is more popular than another. NaN as in
        `kl_explained`.
    """
    from analysis.projection.kernels.reading import popularity

    pairs = problem.pairs
    entropy, ceiling = attention_extent(problem)
    if ceiling <= 1e-6 * max(problem.n_points, 1):
        return float("nan")
    cross = popularity(pairs.first, pairs.length, pairs.offset, pairs.target, POPULARITY_STEPS)
    return 1.0 - (cross + entropy) / ceiling


def attended_nearby(problem: HeadProblem, layout: Layout) -> dict[str, float]:
    """Are the three nearest keys the ones attended to?

    Returns:
        mass3_skill: Attention on the three nearest keys of the same input, as
            ``(mass - chance) / (oracle - chance)`` with each summed over queries; chance is three blind keys, the
            oracle the three most attended. 1 perfect, 0 chance, below 0 worse. Queries with three keys or fewer are
            left out; NaN when none remains or attention is uniform.
        recall3_content: Of the three most attended content keys (no special tokens), the share among the three
            nearest content keys, averaged over content queries with more than three of them; 0 to 1.
    """
    return attended_figures({**attended_sums(problem, layout), "n_points": float(problem.n_points)})


def attended_sums(problem: HeadProblem, layout: Layout) -> dict[str, float]:
    """Over queries: attention on the three nearest keys beyond chance (gain), what the oracle has beyond chance (room),
    content keys found (hits), and content queries that could find three (n_recalled)."""
    everything = np.ones(len(problem.keys), dtype=bool)
    rows = nearest_rows(problem, layout, everything)
    mass, chance, oracle = (rows[name].sum() for name in ("mass", "chance", "oracle"))
    content = nearest_rows(problem, layout, ~problem.is_special)
    hits = content["hits"][(content["n_counted"] > 3) & ~problem.is_special_query]
    sums = {"gain": mass - chance, "room": oracle - chance, "hits": hits.sum(), "n_recalled": len(hits)}
    return {name: float(value) for name, value in sums.items()}


def attended_figures(sums: dict[str, float]) -> dict[str, float]:
    """The figures of `attended_nearby` from its sums."""
    has_room, found = sums["room"] > 1e-6 * sums["n_points"], sums["n_recalled"] > 0
    return {
        "mass3_skill": float(sums["gain"] / sums["room"]) if has_room else float("nan"),
        "recall3_content": float(sums["hits"] / sums["n_recalled"] / 3) if found else float("nan"),
    }


def nearest_rows(problem: HeadProblem, layout: Layout, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Per query, what `nearest_three` finds among the counted keys; zero where there are three or fewer."""
    from analysis.projection.kernels.reading import nearest_three

    pairs = problem.pairs
    rows = {name: np.zeros(problem.n_points) for name in ("mass", "chance", "oracle", "hits", "n_counted")}
    x, y = np.ascontiguousarray(layout.queries), np.ascontiguousarray(layout.keys)
    nearest_three(x, y, pairs.first, pairs.length, pairs.offset, pairs.target, counted, *rows.values())
    return rows


def kept(
    vectors: Float[np.ndarray, "point d_head"],
    neighbours: Int[np.ndarray, "point neighbour"],
    places: Float[np.ndarray, "point dims"],
) -> float:
    """Share of each point's nearest neighbours in the map that are true neighbours, of one kind.

    The truth is the Euclidean neighbourhood of the (centred) vectors. A neighbour in the map counts when it truly is
    no farther than the farthest true neighbour, so equal vectors, as those of CLS in a first layer, count alike.

    Args:
        vectors: Queries or keys.
        neighbours: Their true neighbours, nearest first; 15 where there are that many.
        places: Where the map puts them.

    Returns:
        0 to 1; 1 when every neighbourhood is kept; about neighbours / points by chance. NaN for a single point.
    """
    n_neighbours = neighbours.shape[1]
    if n_neighbours == 0:
        return float("nan")
    from analysis.projection.kernels.reading import count_within_reach

    near = near_places(places, n_neighbours)
    spread = float(np.sqrt(vectors.var(axis=0, dtype=np.float64).sum()))
    n_found = count_within_reach(vectors, near, neighbours[:, -1], 1e-5 * max(spread, 1e-12))
    return n_found / near.size


def mix(layout: Layout) -> float:
    """Share of the other kind among the 15 nearest points of either kind, averaged over all points.

    Returns:
        0 when queries and keys are separate clouds, about 0.5 when they are fully mixed, 1 when every neighbour is of
        the other kind. A wide gap does not mean that the map is wrong: attention reads the order of distances.
    """
    union = np.vstack([layout.queries, layout.keys])
    near = near_places(union, min(N_NEIGHBOURS, len(union) - 1))
    is_key = np.arange(len(union)) >= len(layout.queries)
    return float((is_key[near] != is_key[:, None]).mean())


def near_places(places: Float[np.ndarray, "point dims"], n_neighbours: int) -> Int[np.ndarray, "point neighbour"]:
    """The nearest other points in the map, nearest first."""
    from scipy.spatial import cKDTree

    _, near = cKDTree(places).query(places, k=n_neighbours + 1)
    near = near.reshape(len(places), -1)
    # The point itself is first except among coinciding points, where it may come later or not at all.
    own = near == np.arange(len(places))[:, None]
    own[~own.any(axis=1), -1] = True
    return near[~own].reshape(len(places), n_neighbours)

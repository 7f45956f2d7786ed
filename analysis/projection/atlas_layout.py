"""`atlas`: the default map, attention between the kinds and neighbours inside each kind in one descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.projection import projection
from analysis.projection.alignment import blended
from analysis.projection.fidelity import kl_explained
from analysis.projection.linear import linear
from analysis.projection.problem import HeadProblem, Layout, attention_extent

RADIUS = 20.0
"""Root mean square distance from the middle at the start, in units of the neighbour kernel's width."""

CONSTANTS: dict[str, dict[str, Any]] = {
    "attention": dict(power=4, sigma=40.0, strength=60.0, key_strength=1.5, eps=0.0, goal=0.82),
    "without_sinks": dict(power=2, sigma=20.0, strength=20.0, key_strength=1.3, eps=0.1, goal=0.0),
}
"""Per target: a, sigma, lambda, kappa and eps of the objective, and the KL explained that the pressure mu steers to
(0: constant).

Found on 16 heads of the MiniLM drawn by chance. There, beside a 8, sigma 60, lambda 40, goal 0.80, pressure down to
0.1, 300 iterations at rate 0.3 and 16 shifts from 15 steps of `linear`: KL explained .847 for .821, recall@3 on
content tokens .620 for .614, neighbours kept 1.00 of UMAP's for .91. What helped: a pressure that may fall further,
a longer and faster descent, more shifts, a start trained to the end. a 1 and 2 lose attention, sigma 20 loses
neighbours, lambda 80 too. The goal rises to what the linear start explains because image heads showed the need
(linear .94, `atlas` stopped at .82). `tests/benchmarks/bench_projection.py` reports the other 56 heads, and images.
"""

DESCENT: dict[str, Any] = dict(
    least_pressure=0.01,
    most_pressure=1.0,
    n_iterations=400,
    n_shifts=24,
    rate=0.7,
    warm_up=10,
    exaggeration=3.0,
    exaggerated=0.3,
    start_steps=120,
)

UNDER_START = 0.03
"""Where the start alone explains more than the goal, the goal becomes what it explains less this much.

With the 28 MiniLM heads that no constant was looked at on but this one, KL explained / recall@3 / queries, keys kept:
.883 / .559 / .398, .403, for .870 / .552 / .401, .393 from the start and goal of before (40 steps of `linear`, no
margin), at the same cost; a margin of 0.02 .887 / .567 / .392, .397. With 16 other heads .819 / .555 / .416, .421 for
.817 / .562 / .413, .416; with nine heads of images .955 / .732 / .506, .457 for .950 / .704 / .487, .431.
"""


SETTLING: dict[str, Any] = dict(n_iterations=120, rate=0.5, exaggeration=1.0, exaggerated=0.0)
SETTLING_STRENGTH = 2 / 15
"""The short descent of `settled`: what differs from `DESCENT`; a factor on the strength where the pressure is steered.

Six MiniLM heads fitted on half of the inputs (5,007 tokens in all, two blocks), all points judged, KL explained /
recall@3 / queries, keys kept: .839 / .577 / .265, .262; with a strength of 0.4 instead .855 / .587 / .248, .245;
fitted on everything .849 / .581 / .421, .408.
"""


def constants_for(target: str) -> dict[str, Any]:
    """All constants of the map under a target."""
    return {**CONSTANTS[target], **DESCENT}


def settled(problem: HeadProblem, layout: Layout, seed: int) -> Layout:
    """A short descent of inputs that were placed beside an `atlas` map of other inputs of the same head.

    Args:
        problem: The placed inputs; about as many tokens as were fitted, so that both are as dense.
        layout: Where they were placed; its parameters are those of the fitted sample.
        seed: Of the sampled repulsion.
    """
    made_with = layout.parameters
    steered = SETTLING_STRENGTH if made_with["goal_of_head"] > 0 else 1.0
    constants = {**made_with, **SETTLING, "strength": made_with["strength"] * steered}
    x, y = (np.ascontiguousarray(places.T) for places in (layout.queries, layout.keys))
    neighbours = problem.query_neighbours, problem.key_neighbours
    descended(problem, x, y, neighbours, constants, made_with["goal_of_head"], seed)
    return Layout(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T), made_with)


@projection(
    "atlas",
    description="The default: attention across kinds and neighbours within each kind, together.",
    constants=constants_for,
    settle=settled,
)
def atlas(problem: HeadProblem, dims: int, seed: int, towards: Layout | None = None, **changed: Any) -> Layout:
    """Attention pulls across kinds while neighbours pull within each kind.

    Queries x and keys y minimise ``lambda mu sum_i [-sum_j A_ij log w_ij + log(eps + sum_j w_ij)] + N_q + kappa N_k``.
    Sums run over keys of the same input that may be attended, ``w = (1 + d^2/sigma^2)^-a``. N is a t-SNE-like term
    inside each kind (`analysis.projection.kernels.forces.neighbour_pull`). A wide attention kernel with a narrow
    neighbour kernel keeps both. For the whole attention the pressure mu falls where more than `goal` of the KL is
    explained, so that sharp heads keep their neighbours; where the start alone explains more, the goal is near that
    (`UNDER_START`).

    Args:
        problem: The head; its target chooses the constants.
        dims: 2 or 3.
        seed: For the sampled repulsion, the only random part.
        towards: The map of a neighbouring head: the start is then halfway between the `linear` map and it
            (`analysis.projection.alignment.blended`).
        **changed: Any of `CONSTANTS` and `DESCENT`, under the same names.

    Raises:
        TypeError: A constant of another name.
    """
    constants = constants_for(problem.target)
    if unknown := set(changed) - set(constants):
        raise TypeError(f"atlas has no constant {', '.join(sorted(unknown))}; known: {', '.join(sorted(constants))}")
    constants.update(changed)
    begin = linear(problem, dims, seed, steps=constants["start_steps"])
    goal = constants["goal"]
    if goal > 0:
        goal = float(np.fmax(goal, kl_explained(problem, begin) - UNDER_START))
    x, y = centred_start(begin if towards is None else blended(begin, towards), seed)
    neighbours = problem.query_neighbours, problem.key_neighbours
    pressure = descended(problem, x, y, neighbours, constants, goal, seed)
    reading = {"power": constants["power"], "sigma": constants["sigma"]}
    parameters = {**constants, "seed": seed, "target": problem.target, "reading": reading}
    parameters |= {"goal_of_head": goal, "pressure": float(pressure)}
    parameters |= {} if towards is None else {"aligned": True}
    return Layout(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T), parameters)


def descended(
    problem: HeadProblem, x: np.ndarray, y: np.ndarray, neighbours: tuple[np.ndarray, np.ndarray],
    constants: dict[str, Any], goal: float, seed: int,
) -> float:  # fmt: skip
    """Run the descent on `x` and `y` (``[dims, point]``, changed in place); returns the pressure at its end."""
    from analysis.projection.kernels.descent import descend

    pairs = problem.pairs
    entropy, ceiling = attention_extent(problem)
    return descend(
        x, y, *neighbours,
        pairs.first, pairs.length, pairs.offset, pairs.target,
        cyclic_shifts(constants["n_iterations"], constants["n_shifts"], problem.n_points, seed, len(problem.keys)),
        constants["power"], constants["sigma"], constants["eps"], constants["strength"], constants["key_strength"],
        constants["rate"], constants["warm_up"], constants["exaggeration"], constants["exaggerated"],
        goal, constants["least_pressure"], constants["most_pressure"], entropy, ceiling,
    )  # fmt: skip


def centred_start(layout: Layout, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The union of the layout centred, with root mean square radius `RADIUS`, as ``[dims, point]`` arrays.

    Points that coincide would never part, so each moves by a seeded hair (1e-4 of a neighbour width).
    """
    union = np.vstack([layout.queries, layout.keys]).astype(np.float64)
    union -= union.mean(axis=0)
    radius = np.sqrt((union**2).sum(axis=1).mean())
    union *= RADIUS / radius if radius > 1e-9 else 1.0
    union += np.random.default_rng([seed, 1]).normal(scale=1e-4, size=union.shape)
    x, y = np.split(union.astype(np.float32), [len(layout.queries)])
    return np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)


def cyclic_shifts(n_iterations: int, n_shifts: int, n_points: int, seed: int, n_keys: int | None = None) -> np.ndarray:
    """``[iteration, sample, kind]`` distances in the tables of queries and of keys, uniform in 1..n-1; none for single
    points."""
    n_keys = n_points if n_keys is None else n_keys
    if max(n_points, n_keys) < 2:
        return np.zeros((n_iterations, 0, 2), dtype=np.int64)
    most = n_points if n_points == n_keys else [max(n_points, 2), max(n_keys, 2)]
    return np.random.default_rng([seed, 0]).integers(1, most, size=(n_iterations, n_shifts, 2))

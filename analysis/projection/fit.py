"""Fit the maps of many heads: threads over heads, a sample where there are too many tokens, one measure for all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from analysis.projection import PROJECTIONS, Projection
from analysis.projection.fidelity import attention_figures, measure, neighbour_figures
from analysis.projection.linear import linear
from analysis.projection.problem import HeadProblem, Layout
from analysis.projection.sample import neighbours_in_sample, part_of, placed_beside, stratified_rows

MAX_TOKENS = 20_000
"""Beyond this many tokens a map is fitted on a sample and the other points are placed beside it."""

Job = tuple[str, int, Callable[[], HeadProblem]]
Fitted = tuple[str, int, Layout, dict[str, float]]


def fit_heads(
    problems: Iterable[Job],
    method: str = "atlas",
    dims: int = 2,
    seed: int = 0,
    target: str = "attention",
    n_jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
    max_tokens: int = MAX_TOKENS,
    aligned: bool = False,
    **parameters: Any,
) -> Iterator[Fitted]:
    """Lay out and measure heads, in the order given.

    Args:
        problems: ``(site key, head, builder)``; the builder is called in a worker, and only a few problems exist at
            a time.
        method: A name in `PROJECTIONS`.
        dims: 2 or 3.
        seed: The same for every head; the same seed gives the same maps whatever `n_jobs` is.
        target: ``"attention"`` or ``"without_sinks"``.
        n_jobs: Heads at a time; all cores without it. Methods that are not `concurrent` take one.
        progress: Called with the number of heads finished.
        max_tokens: See `MAX_TOKENS`.
        aligned: Start each head halfway between its own start and the head before it, so that neighbouring heads can
            be compared by eye. One head at a time.
        **parameters: For the method.

    Yields:
        Site key, head, layout, fidelity (see `analysis.projection.fidelity.measure`).

    Raises:
        UnknownName: No such method or target.
    """
    from threadpoolctl import threadpool_limits

    entry = PROJECTIONS[method]
    n_workers = (n_jobs or os.cpu_count() or 1) if entry.concurrent and not aligned else 1

    def fit(job: Job, before: Layout | None = None) -> Fitted:
        site_key, head, build = job
        problem = build().with_target(target)
        options = dict(parameters) if before is None else {**parameters, "start": blended(before, problem, dims, seed)}
        return (site_key, head, *fit_one(problem, entry, dims, seed, max_tokens, options))

    with threadpool_limits(1), ThreadPoolExecutor(n_workers) as pool:
        finished = in_a_chain(problems, fit) if aligned else in_order(problems, fit, pool, n_workers + 1)
        for number, fitted in enumerate(finished, start=1):
            if progress is not None:
                progress(number)
            yield fitted


def fit_one(
    problem: HeadProblem, entry: Projection, dims: int, seed: int, max_tokens: int, options: dict[str, Any]
) -> tuple[Layout, dict[str, float]]:
    """One head, on a sample where it has more than `max_tokens` tokens; then neighbours are judged on the sample."""
    if problem.n_points <= max_tokens:
        layout = entry(problem, dims, seed, **options)
        return layout, measure(problem, layout)
    rows = stratified_rows(problem, max_tokens, seed)
    part = part_of(problem, rows)
    if "start" in options:
        start = options["start"]
        options = {**options, "start": Layout(start.queries[rows], start.keys[rows], start.parameters)}
    fitted = entry(part, dims, seed, **options)
    layout = placed_beside(problem, rows, fitted)
    if entry.settle is not None:
        layout = entry.settle(problem, layout, *neighbours_in_sample(problem, part, rows), seed)
        fitted = Layout(layout.queries[rows], layout.keys[rows], layout.parameters)
    return layout, {**attention_figures(problem, layout), **neighbour_figures(part, fitted)}


def in_order(
    jobs: Iterable[Job], fit: Callable[[Job], Fitted], pool: ThreadPoolExecutor, n_waiting: int
) -> Iterator[Fitted]:
    """Results in the order of the jobs, with `n_waiting` of them in work, so that memory stays bounded."""
    running = deque()
    try:
        for job in jobs:
            running.append(pool.submit(fit, job))
            if len(running) >= n_waiting:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def in_a_chain(jobs: Iterable[Job], fit: Callable[[Job, Layout | None], Fitted]) -> Iterator[Fitted]:
    """One head after the other, each started from the head to its left, or from the first head of the site above."""
    before, leading, site = None, None, None
    for job in jobs:
        begins_site = job[0] != site
        fitted = fit(job, leading if begins_site else before)
        site, before = job[0], fitted[2]
        if begins_site:
            leading = before
        yield fitted


def blended(before: Layout, problem: HeadProblem, dims: int, seed: int, share: float = 0.5) -> Layout:
    """A start between this head's own (`linear`) and another head's map.

    Both are centred and scaled alike, and the own start is turned (reflections included) onto the other first, by
    the orthogonal Procrustes solution, or the blend would cancel out.
    """
    own = linear(problem, dims, seed)
    own_places, other_places = (unit_cloud(layout) for layout in (own, before))
    if own_places.shape != other_places.shape:
        return own
    left, _, right = np.linalg.svd(own_places.T @ other_places)
    mixed = ((1 - share) * own_places @ (left @ right) + share * other_places).astype(np.float32)
    return Layout(mixed[: problem.n_points], mixed[problem.n_points :], {"aligned": True})


def unit_cloud(layout: Layout) -> np.ndarray:
    """Queries and keys together, centred, with root mean square radius 1."""
    union = np.vstack([layout.queries, layout.keys]).astype(np.float64)
    union -= union.mean(axis=0)
    return union / max(float(np.sqrt((union**2).sum(axis=1).mean())), 1e-12)

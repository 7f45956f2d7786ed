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
    known: Callable[[str, int], Layout | None] | None = None,
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
        aligned: Start each head halfway between its own start and the head to its left (the first of a site: the
            first head of the site before), so that neighbouring heads can be compared by eye. One head at a time;
            the method must take ``towards``.
        known: ``(site key, head) -> layout``, or None for a head that is not made yet. Only asked when aligned:
            known heads are not yielded but lead the next ones, so that a map resumed is the map made at once.
        **parameters: For the method.

    Yields:
        Site key, head, layout, fidelity (see `analysis.projection.fidelity.measure`).

    Raises:
        UnknownName: No such method or target.
        UserError: The method cannot be aligned.
    """
    from threadpoolctl import threadpool_limits

    from analysis.projection.naming import MapKind

    MapKind(method, dims, target, aligned).check()
    entry = PROJECTIONS[method]
    n_workers = (n_jobs or os.cpu_count() or 1) if entry.concurrent and not aligned else 1

    def fit(job: Job, before: Layout | None = None) -> Fitted:
        site_key, head, build = job
        problem = build().with_target(target)
        options = dict(parameters) if before is None else {**parameters, "towards": before}
        return (site_key, head, *fit_one(problem, entry, dims, seed, max_tokens, options))

    with threadpool_limits(1), ThreadPoolExecutor(n_workers) as pool:
        finished = in_a_chain(problems, fit, known) if aligned else in_order(problems, fit, pool, n_workers + 1)
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
    if "towards" in options:
        options = {**options, "towards": layout_of(options["towards"], rows)}
    fitted = entry(part, dims, seed, **options)
    layout = placed_beside(problem, rows, fitted)
    if entry.settle is not None:
        layout = entry.settle(problem, layout, *neighbours_in_sample(problem, part, rows), seed)
        fitted = layout_of(layout, rows)
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


def in_a_chain(
    jobs: Iterable[Job],
    fit: Callable[[Job, Layout | None], Fitted],
    known: Callable[[str, int], Layout | None] | None = None,
) -> Iterator[Fitted]:
    """One head after the other, each started towards the head to its left, or the first head of the site above."""
    before, leading, site = None, None, None
    for job in jobs:
        begins_site = job[0] != site
        layout = known(job[0], job[1]) if known is not None else None
        fitted = None
        if layout is None:
            fitted = fit(job, leading if begins_site else before)
            layout = fitted[2]
        site, before = job[0], layout
        if begins_site:
            leading = before
        if fitted is not None:
            yield fitted


def layout_of(layout: Layout, rows: np.ndarray) -> Layout:
    """The places of some tokens."""
    return Layout(layout.queries[rows], layout.keys[rows], layout.parameters)

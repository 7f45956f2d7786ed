"""Fit the maps of many heads: threads over heads, a sample where there are too many tokens, one measure for all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from analysis.projection import PROJECTIONS, Projection
from analysis.projection.fidelity import attention_sums, figures_of, measure, neighbour_figures, reading
from analysis.projection.problem import HeadProblem, Layout, rows_of
from analysis.projection.sample import blocks_of_inputs, placed_beside, points_beside

MAX_TOKENS = 20_000
"""Beyond this many tokens a map is fitted on a sample of the inputs and the others are placed beside it."""


@runtime_checkable
class Head(Protocol):
    """A head that need not be in memory: a `HeadProblem`, or what can read one."""

    starts: np.ndarray
    """Row of the queries at which each input begins, and their number at the end."""

    key_starts: np.ndarray | None
    """The same of the keys, where they are other tokens."""

    def of_inputs(self, inputs: np.ndarray) -> HeadProblem:
        """The problem of some inputs, rising."""


class Thinned(NamedTuple):
    """A head with some of the tokens of its long inputs left out.

    Attributes:
        head: The others, as if there were no more.
        rows: Which of the queries they are.
        key_rows: Which of the keys.
    """

    head: Thinnable
    rows: np.ndarray
    key_rows: np.ndarray


@runtime_checkable
class Thinnable(Head, Protocol):
    """A head whose inputs may be too long to be laid out whole."""

    def thinned(self, seed: int) -> Thinned | None:
        """A sample of the tokens of every long input; None where none is."""

    def vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """All queries and all keys."""


Job = tuple[str, int, Callable[[], Head]]
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
        problems: ``(site key, head, builder)``; the builder is called in a worker and gives a `Head`; only a few
            exist at a time.
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
        options = dict(parameters) if before is None else {**parameters, "towards": before}
        return (site_key, head, *fit_one(build(), entry, dims, seed, target, max_tokens, options))

    with threadpool_limits(1), ThreadPoolExecutor(n_workers) as pool:
        finished = in_a_chain(problems, fit, known) if aligned else in_order(problems, fit, pool, n_workers + 1)
        for number, fitted in enumerate(finished, start=1):
            if progress is not None:
                progress(number)
            yield fitted


def fit_one(
    head: Head, entry: Projection, dims: int, seed: int, target: str, max_tokens: int, options: dict[str, Any]
) -> tuple[Layout, dict[str, float]]:
    """One head, on a sample of its inputs where it has more than `max_tokens` tokens."""
    thinned = head.thinned(seed) if isinstance(head, Thinnable) else None
    if thinned is not None:
        return fit_thinned(head, thinned, entry, dims, seed, target, max_tokens, options)
    longer = np.diff(head.starts)
    if head.key_starts is not None:
        longer = np.maximum(longer, np.diff(head.key_starts))
    blocks = blocks_of_inputs(np.concatenate([[0], np.cumsum(longer)]), max_tokens, seed)
    if len(blocks) > 1:
        return fit_in_blocks(head, blocks, entry, dims, seed, target, options)
    problem = head.of_inputs(np.arange(len(head.starts) - 1)).with_target(target)
    layout = entry(problem, dims, seed, **options)
    return layout, measure(problem, layout)


def fit_thinned(
    head: Thinnable, thinned: Thinned, entry: Projection, dims: int, seed: int, target: str, max_tokens: int,
    options: dict[str, Any],
) -> tuple[Layout, dict[str, float]]:  # fmt: skip
    """A sample of the tokens fitted as if there were no others, the others placed beside them.

    Figures are of the sample: attention among its tokens.
    """
    if "towards" in options:
        options = {**options, "towards": layout_of(options["towards"], thinned.rows, thinned.key_rows)}
    fitted, figures = fit_one(thinned.head, entry, dims, seed, target, max_tokens, options)
    vectors, sample = head.vectors(), thinned.head.vectors()
    places = []
    for kind, all_vectors, own, at, rows in zip(
        ("query", "key"), vectors, sample, (fitted.queries, fitted.keys), (thinned.rows, thinned.key_rows), strict=True
    ):
        others = np.setdiff1d(np.arange(len(all_vectors)), rows)
        whole = np.empty((len(all_vectors), dims), dtype=np.float32)
        whole[rows], whole[others] = at, points_beside(fitted, all_vectors[others], own, at, kind)
        places.append(whole)
    counts = {"n_fitted": len(thinned.rows), "n_placed": len(places[0]) - len(thinned.rows)}
    return Layout(*places, {**fitted.parameters, **counts}), figures


def fit_in_blocks(
    head: Head, blocks: list[np.ndarray], entry: Projection, dims: int, seed: int, target: str, options: dict[str, Any]
) -> tuple[Layout, dict[str, float]]:
    """The first block fitted, the others placed beside it and settled, one at a time: two blocks are in memory at most.

    Figures that read attention are of all inputs, those of neighbours of the first block alone.
    """
    bounds = (head.starts, head.starts if head.key_starts is None else head.key_starts)
    rows = [[rows_of(starts, inputs) for starts in bounds] for inputs in blocks]
    sample = head.of_inputs(blocks[0]).with_target(target)
    if "towards" in options:
        options = {**options, "towards": layout_of(options["towards"], *rows[0])}
    fitted = entry(sample, dims, seed, **options)
    power, sigma = reading(sample, fitted)
    judged = {**fitted.parameters, "reading": {"power": power, "sigma": sigma}}
    places = [np.empty((int(starts[-1]), dims), dtype=np.float32) for starts in bounds]
    places[0][rows[0][0]], places[1][rows[0][1]] = fitted.queries, fitted.keys
    figures = neighbour_figures(sample, fitted)
    sums = [attention_sums(sample, replace(fitted, parameters=judged))]
    for inputs, (at, key_at) in zip(blocks[1:], rows[1:]):
        other = head.of_inputs(inputs).with_target(target)
        layout = placed_beside(other, sample, fitted)
        if entry.settle is not None:
            layout = entry.settle(other, layout, seed)
        places[0][at], places[1][key_at] = layout.queries, layout.keys
        sums.append(attention_sums(other, replace(layout, parameters=judged)))
    n_fitted = len(rows[0][0])
    counts = {"n_fitted": n_fitted, "n_placed": len(places[0]) - n_fitted, "n_blocks": len(blocks)}
    return Layout(*places, {**fitted.parameters, **counts}), {**figures_of(sums), **figures}


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


def layout_of(layout: Layout, rows: np.ndarray, key_rows: np.ndarray) -> Layout:
    """The places of some queries and keys; the layout itself where it is of other tokens."""
    if rows.max(initial=-1) >= len(layout.queries) or key_rows.max(initial=-1) >= len(layout.keys):
        return layout
    return Layout(layout.queries[rows], layout.keys[key_rows], layout.parameters)

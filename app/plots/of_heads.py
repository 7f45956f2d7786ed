"""Scores of heads, and where a head looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from analysis.errors import RunError, UnknownName
from analysis.store.run import Run
from analysis.types import Site
from app.charts.head_card import make_score_ranges, score_table
from app.charts.head_grid import unit_words
from app.charts.head_measures import HeadScores, measure_words, spread_scores
from app.charts.head_profile import (
    ALIGNED,
    OFFSET,
    RING,
    SHAPES,
    aligned_words,
    make_aligned,
    make_profile,
    profile_words,
)
from app.charts.head_trends import make_layer_trend, trend_table
from app.charts.score_pictures import make_score_grid, make_score_strip
from app.charts.words import stack_title
from app.plots.chosen import check, find_head, sites_of, title_of
from app.plots.figure import figure

if TYPE_CHECKING:
    from app.plots.chosen import HeadSaid

GRID, STRIP, LAYERS = "grid", "strip", "layers"


def heads(
    run: Run, metric: str, how: str = GRID, *, stack: str | None = None, less_null: bool = False, most: int = 30
) -> alt.LayerChart:
    """One score of every head of a stack, in the unit that the legend or axis says.

    Args:
        run: An open run.
        metric: One of `Run.head_scores`, as in ``"induction"``; `analysis.METRICS` says what each means.
        how: ``grid``: rows are layers, columns heads, colour is the score, as on the page Heads. ``strip``: the
            highest heads in order, each with its 95 % interval over inputs and its null as a grey stroke. ``layers``: a
            dot a head by layer, with the median and the quartiles of each layer.
        stack: Where the run has several.
        less_null: In the grid, the score less its null around 0.
        most: Heads in the strip.

    Heads that the score says nothing of are left out.

    Raises:
        UserError: The stack, the metric or `how` is not known, or says nothing of this stack.
    """
    check(how, (GRID, STRIP, LAYERS))
    sites = sites_of(run, stack)
    scores = _scores(run, sites)
    if metric not in scores.measures:
        known = ", ".join(scores.measures) or "none"
        raise UnknownName(f"{sites[0].stack_label} has no score {str(metric)[:60]!r}; it has: {known}.")
    words, figures = _words(metric), scores.of(metric)
    title = f"{words['title']}, {stack_title(sites[0].stack_label).lower()}"
    if how == STRIP:
        n, total = min(most, int(figures["value"].notna().sum())), int(figures["value"].notna().sum())
        said = f"The {n} highest of {total} heads. " if n < total else ""
        said += "Dot and bar: value with its 95 % interval; grey: the null."
        return figure(make_score_strip(scores.heads, figures, words, most), title, said)
    if how == LAYERS:
        table = trend_table(scores.heads, figures["value"])
        chart = make_layer_trend(table, words["title"], unit_words(words["unit"]), None, 460, 260)
        return figure(chart, title, "A dot a head; diamonds: medians; band: lower to upper quartile.")
    high = f"High: {words['high']}." if words["high"] else ""
    return figure(make_score_grid(scores.heads, figures, words, less_null), title, high)


def head_scores(run: Run, head: HeadSaid, *, stack: str | None = None) -> alt.LayerChart:
    """Every score of one head, a line each: value with its 95 % interval, null and rank, as on its card.

    A line runs from 0, or the lowest value, to the highest of all heads, which are faint strokes on it.

    Args:
        run: An open run.
        head: As in ``"L3H5"``; see `app.plots`.
        stack: Where the run has several.

    Raises:
        UserError: The head is not known, or the run has no scores of it.
    """
    site, index = find_head(run, head, stack)
    scores = _scores(run, run.sites)
    row = scores.row_of(site.label, index)
    table = score_table(scores, row, measure_words(), is_text=site.modality == "text")
    if table.empty:
        raise RunError(f"Run {run.run_id!r} has no scores of {title_of(site, index)}.")
    chart = make_score_ranges(table, scores, title_of(site, index), pixels=120)
    return figure(chart, f"{title_of(site, index)}: scores", pixels=640)


def head_profile(
    run: Run, head: HeadSaid, how: str | None = None, *, stack: str | None = None, scale: str = "linear"
) -> alt.LayerChart:
    """Where a head looks from the query: share of its attention, 0 to 1, by distance or direction, with its null.

    Args:
        run: An open run.
        head: As in ``"L3H5"``; see `app.plots`.
        how: ``offset``: by tokens before the query (texts). ``aligned``: by columns and rows from the query's own patch
            (images). ``ring``: by distance in patches (images). The first that the run has where none is given.
        stack: Where the run has several.
        scale: Of ``offset`` and ``ring``: ``linear`` or ``log``.

    Raises:
        UserError: The head, `how` or `scale` is not known, or the run keeps no such profile of this head.
    """
    site, index = find_head(run, head, stack)
    check(scale, SHAPES, "scale")
    profiles = run.head_profiles(site=site, head=index).dropna(subset=["value"])
    profiles = profiles[(profiles["profile"] != OFFSET) | (profiles["n"] > 0)]
    known = [name for name in (OFFSET, ALIGNED, RING) if (profiles["profile"] == name).any()]
    if not known:
        raise RunError(_no_profile(run, site))
    if how is not None:
        check(how, known)
    kind = how or known[0]
    mine = profiles[profiles["profile"] == kind]
    if kind == ALIGNED:
        said = "Framed: the query's patch; arrow: the peak; cross: the centre of mass."
        return figure(make_aligned(mine, 300), f"{title_of(site, index)}: where it looks from the query",
                      aligned_words(mine), said)  # fmt: skip
    title = "attention by offset" if kind == OFFSET else "attention by distance"
    return figure(make_profile(mine, kind, scale, (460, 220)), f"{title_of(site, index)}: {title}",
                  profile_words(mine, kind))  # fmt: skip


def _no_profile(run: Run, site: Site) -> str:
    if site.is_cross:
        return (
            f"{site.label} has no profile: its queries are tokens of the {site.query_sequence}, its keys of the "
            f"{site.key_sequence}, and between places of two sequences there is no distance."
        )
    return f"Run {run.run_id!r} keeps no profile of {site.label}: it was made before there were any; extract it again."


def _scores(run: Run, sites: list[Site]) -> HeadScores:
    table = run.head_scores()
    return spread_scores(sites, table[table["site"].isin([site.key for site in sites])])


def _words(metric: str) -> dict[str, str]:
    named = {"title": metric.replace("_", " ").capitalize(), "unit": "", "high": ""}
    return measure_words().get(metric, named)

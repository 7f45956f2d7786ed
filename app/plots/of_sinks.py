"""Tokens that swallow attention, by layer."""

from __future__ import annotations

import altair as alt
import numpy as np

from analysis.errors import RunError
from analysis.pipeline.sinks import levels_of
from analysis.sinks import USUAL, received_at
from analysis.sinks.towers import Tower, read_tower
from analysis.store.one_sequence import of_stack
from analysis.store.run import Run
from app.charts.sink_layers import group_table, layer_table, make_groups, make_layers
from app.charts.sink_levels import level_table, make_levels
from app.charts.words import stack_title
from app.plots.chosen import check, sites_of
from app.plots.figure import figure

LAYERS, NORMS, LEVELS = "layers", "norms", "levels"


def sinks(run: Run, how: str = LAYERS, *, stack: str | None = None) -> alt.LayerChart:
    """The sinks of a stack layer by layer, as on the page Sinks with its thresholds untouched.

    A token is a sink of a head that gives it a mean attention of more than 0.3, its own query not counted
    (`analysis.sinks.USUAL`). The primary sink of an input is the token that gets most over all heads.

    Args:
        run: An open run.
        how: ``layers``: the mean attention that the primary sink receives and the share of heads in which it is one, 0
            to 1, with 95 % intervals over inputs, beside what even attention would give. ``norms``: the Euclidean norm
            of the residual state of primary sinks, other sinks and the rest in front of each layer, median and
            quartiles, on a logarithmic scale. ``levels``: how many tokens point where the primary sink points, by the
            first layer in which they do and for how many layers.
        stack: Where the run has several.

    Raises:
        UserError: The stack or `how` is not known, the run was made before sinks were measured, or without the figures
            of residual states that ``norms`` and ``levels`` rest on.
    """
    check(how, (LAYERS, NORMS, LEVELS))
    label = sites_of(run, stack)[0].stack_label
    tower = read_tower(of_stack(run, label), label, USUAL)
    title = f"{{}}, {stack_title(label).lower()}"
    if how == LAYERS:
        chart = make_layers(_layers(run, tower), tower.rule.threshold, None, alone=True)
        return _wide(chart, title.format("Primary sink by layer"))
    states = run.state_figures(label)
    if not states:
        raise RunError(
            f"Run {run.run_id!r} has no residual states of {label} measured: extract it again with --states on."
        )
    if how == NORMS:
        table = group_table(states["norm"], tower.is_primary, (tower.share > 0).any(axis=0))
        chart = make_groups(table, None, "norm of the residual state", behind=True, alone=True)
        return _wide(chart, title.format("Norms by layer"), "Median and quartiles in front of each layer.")
    found = levels_of(run, tower)
    table = level_table(found)
    if table.empty:
        raise RunError(f"No other token of {label} points where the primary sink points: there are no levels to draw.")
    chart = make_levels(table, found, None)
    return _wide(chart, title.format("Levels of sinks"), "Tokens in each cell; framed: secondary sinks.")


def _layers(run: Run, tower: Tower):
    even = np.stack([
        site.even[tower.primary] for site in received_at(of_stack(run, tower.stack), tower.rule, tower.sites)
    ])  # fmt: skip
    received = np.stack([of_site.mean(axis=0) for of_site in tower.of_primary])
    return layer_table(tower.share[:, tower.primary], received, even)


def _wide(chart: alt.LayerChart, title: str, *said: str) -> alt.LayerChart:
    return figure(chart.properties(width=460), title, *said)

"""Scatter and grid: from what is chosen to what is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.metrics import METRICS
from app import cache, widgets
from app.cache import head_figures as kept
from app.charts.head_grid import (
    Shades,
    category_colours,
    cell_words,
    figure_words,
    ink_on,
    make_shades,
    unit_words,
    value_range,
)
from app.charts.head_order import ORDERS, arrange
from app.charts.head_scatter import Axis, error_bars, jittered, make_axis, radii
from app.charts.scales import weight_words
from app.components.headboard import Board, Head, Tower
from app.palette import QUIET, VIRIDIS
from app.views.heads_parts.choice import (
    CLUSTER,
    LAYER,
    LIKENESS,
    NAME,
    NONE,
    SAME,
    STORED,
    Choice,
    values_of,
    words_of,
)


def make_board(choice: Choice, places: pd.DataFrame | None) -> Board:
    """Everything that is drawn.

    Args:
        places: For `LIKENESS`: columns x, y, cluster, one row a head; None before they are known.
    """
    shades, values = make_shades(choice.scores.of(choice.measure), words_of(choice.measure), choice.less_null)
    cells = shades.colours(values)
    x, y, across, up = _axes(choice, places)
    tones, legend, legend_title = _tones(choice, cells, places)
    sizes = radii(None if choice.area == NONE else values_of(choice, choice.area), len(values))
    shares = zip(across.share(x), up.share(y))
    says = _says(choice)
    heads = [
        Head(
            name=row.name, site=row.site, head=int(row.head), is_out=not choice.holds[at], says=says[at],
            text=cell_words(values[at], shades), colour=cells[at], ink=ink_on(cells[at]),
            x=_share(share[0]), y=_share(share[1]), radius=sizes[at], tone=tones[at],
        )
        for at, (row, share) in enumerate(zip(choice.scores.heads.itertuples(index=False), shares))
    ]  # fmt: skip
    missing = sum(head.x is None or head.y is None for head in heads)
    without = "" if not missing else f"{missing} of {len(heads)} heads have no dot: {_why_missing(choice)}"
    note = "; ".join(part for part in (_sizes(choice), without) if part)
    return Board(
        heads, _towers(choice, values), across, up, _bars(choice, across, up), shades, legend, legend_title,
        choice.picked, choice.compared, _alt(choice, shades), note,
    )  # fmt: skip


def _sizes(choice: Choice) -> str:
    """What the areas of the dots say."""
    if choice.area == NONE:
        return ""
    values = values_of(choice, choice.area)
    ends = [weight_words(float(end)) for end in (np.nanmin(values), np.nanmax(values))]
    words = words_of(choice.area)
    return f"size of dots: {words['title']}, {ends[0]} (small) to {ends[1]} (large) {unit_words(words['unit'])}"


def _why_missing(choice: Choice) -> str:
    if choice.across == LIKENESS:
        return f"arranged are those of {widgets.stack_title(choice.stack)}"
    said = "a measure of an axis says nothing of them"
    sites = cache.facts(choice.selection.run).sites
    asked = [METRICS[name] for name in (choice.across, choice.up, choice.measure) if name in METRICS]
    if any(site.is_cross for site in sites) and not all(metric.on_cross for metric in asked):
        said += (
            ", or they are of cross-attention, whose queries and keys are tokens of two sequences, so that distance, "
            "position and likeness say nothing (hatched)"
        )
    return said


def _axes(choice: Choice, places: pd.DataFrame | None) -> tuple[np.ndarray, np.ndarray, Axis, Axis]:
    if choice.across == LIKENESS:
        known = places if places is not None else pd.DataFrame({"x": [], "y": []}).reindex(choice.scores.heads.index)
        x, y = known["x"].to_numpy(dtype=float), known["y"].to_numpy(dtype=float)
        how = STORED.get(choice.arranged, choice.arranged)
        title = f"heads that attend alike lie near each other, by {how}"
        return x, y, make_axis(x, title, ticked=False), make_axis(y, "no unit", ticked=False)
    found = []
    for what in (choice.across, choice.up):
        values = values_of(choice, what)
        if what == LAYER:
            values = jittered(values, choice.scores.heads["head"])
        words = words_of(what)
        found.append(
            (values, make_axis(values, f"{words['title']}, {unit_words(words['unit'])}", counts=what == LAYER))
        )
    return found[0][0], found[1][0], found[0][1], found[1][1]


def _tones(
    choice: Choice, cells: list[str | None], places: pd.DataFrame | None
) -> tuple[list[str], dict[str, str] | Shades | None, str]:
    """Colour of every dot, its legend and what it is."""
    if choice.tone == SAME:
        return [colour or QUIET for colour in cells], None, ""
    if choice.tone == NAME:
        tones, legend = category_colours(choice.names)
        return tones, legend, "strongest name"
    if choice.tone == CLUSTER:
        clusters = [None] * len(cells) if places is None else [cluster_name(value) for value in places["cluster"]]
        tones, legend = category_colours(clusters)
        return tones, legend, "cluster of like heads"
    words, values = words_of(choice.tone), values_of(choice, choice.tone)
    shades = Shades(words["title"], words["unit"], words["high"], *value_range(values), VIRIDIS)
    return [colour or QUIET for colour in shades.colours(values)], shades, words["title"]


def cluster_name(number: float) -> str | None:
    """``cluster 3``, counted from 1; None for heads in no cluster."""
    return None if not np.isfinite(number) or number < 0 else f"cluster {int(number) + 1}"


def _says(choice: Choice) -> list[tuple[str, ...]]:
    """What every head says under the pointer: its names and the figures that are shown."""
    shown = [choice.measure, choice.across, choice.up, choice.tone, choice.area]
    shown = [name for name in dict.fromkeys(shown) if name in choice.scores.value]
    tables = {name: choice.scores.of(name).to_dict("records") for name in shown}
    titles = {name: (words_of(name)["title"], words_of(name)["unit"]) for name in shown}
    names: dict[tuple[str, int], list[str]] = {}
    for row in choice.labels.itertuples():
        names.setdefault((row.site, row.head), []).append(f"{row.label} {row.strength:.2f}")
    lines = []
    for at, (site, head, name) in enumerate(choice.scores.heads[["site", "head", "name"]].itertuples(index=False)):
        figures = [f"{titles[each][0]}: {figure_words(tables[each][at], titles[each][1])}" for each in shown]
        own = names.get((site, head))
        lines.append((name, *figures, *([f"names: {', '.join(own)}"] if own else [])))
    return lines


def _towers(choice: Choice, values: np.ndarray) -> list[Tower]:
    heads, order = choice.scores.heads, choice.selection.option("order", ORDERS)
    towers = []
    for stack in dict.fromkeys(heads["stack"]):
        rows = np.flatnonzero(heads["stack"] == stack)
        mine = heads.iloc[rows]
        lines = arrange(mine["layer"].tolist(), mine["head"].tolist(), values[rows].tolist(), order)
        placed = [type(line)(line.label, line.hint, tuple(int(rows[at]) for at in line.heads)) for line in lines]
        n_columns, n_layers = int(mine["head"].max()) + 1, mine["layer"].nunique()
        title = f"{n_layers} layers × {n_columns} heads"
        towers.append(Tower(widgets.stack_title(stack), title, n_columns, placed, order in ("heads", "both", "rank")))
    return towers


def _bars(choice: Choice, across: Axis, up: Axis) -> dict[int, dict[str, list[float] | None]]:
    rows = list(dict.fromkeys([*([choice.picked] if choice.picked is not None else []), *choice.compared[:20]]))
    found = {}
    for side, axis, what in (("x", across, choice.across), ("y", up, choice.up)):
        if what in choice.scores.value:
            found[side] = error_bars(axis, choice.scores.of(what), rows)
    return {row: {side: found.get(side, {}).get(row) for side in ("x", "y")} for row in rows}


def _alt(choice: Choice, shades: Shades) -> tuple[str, str]:
    n = len(choice.scores.heads)
    if choice.across == LIKENESS:
        scatter = f"Scatter of {n} heads; heads that attend alike lie together"
    else:
        scatter = f"Scatter of {n} heads: {words_of(choice.across)['title']} by {words_of(choice.up)['title']}"
    left = int((~choice.holds).sum())
    dimmed = f", {left} dimmed by the filter" if left else ""
    high = f"; high = {shades.high}" if shades.high else ""
    return f"{scatter}{dimmed}", f"{shades.title}, {unit_words(shades.unit)}{high}; rows are layers{dimmed}"


def _share(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None


def likeness(choice: Choice) -> pd.DataFrame:
    """Places of all heads by likeness, one row a head: x, y, cluster; NaN for heads of another stack.

    Raises:
        UserError: Nothing that is known tells the heads apart.
    """
    found = kept.places(choice.selection.run, choice.stack, choice.arranged).set_index(["site", "head"])
    rows = pd.MultiIndex.from_frame(choice.scores.heads[["site", "head"]])
    return found[["x", "y", "cluster"]].reindex(rows).reset_index(drop=True)

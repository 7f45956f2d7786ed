"""The joint map of a head."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from analysis.errors import RunError, UnknownName
from analysis.store.run import Run
from analysis.types import Site
from app.charts.colouring import colouring_of
from app.charts.fidelity import fidelity_note, fidelity_short, fidelity_warning, sample_note
from app.charts.joint_map import MOVES, make_joint_map, point_table
from app.plots.chosen import find_head, find_map, title_of
from app.plots.figure import figure
from app.state import CYCLE, KIND_COLOUR, cycle_of

if TYPE_CHECKING:
    from app.plots.chosen import HeadSaid


def head_map(
    run: Run,
    head: HeadSaid,
    colour: str = KIND_COLOUR,
    *,
    stack: str | None = None,
    map: str | None = None,
    most: int = 5000,
) -> alt.LayerChart:
    """Every query (circle) and key (diamond) of a head in one plane, with what the map explains of its attention.

    What lies near a query is what it attends to, as far as the line under the title says. The plane has no unit. The
    pointer tells token, input and position; drag and wheel move and zoom.

    Args:
        run: An open run.
        head: As in ``"L3H5"``; see `app.plots`.
        colour: ``kind`` (query or key), a column of the token table (`Run.token_columns`), or ``position_mod_8`` for
            the position modulo 8, or another number. Tokens without a value are grey.
        stack: Where the run has several.
        map: Name or method of a map (`Run.projections`); the run's first one in 2-D where none is given.
        most: Points drawn. Of more, so many tokens are drawn as a random sample, always the same, with both their
            points, and a line under the title says so; the page draws them all. Beyond 5,000 Altair wants
            ``alt.data_transformers.disable_max_rows()``, and moving and zooming become slow.

    Raises:
        UserError: The head or the colour is not known, or the run has no such map of it; the message says what it has.
    """
    site, index = find_head(run, head, stack)
    found = find_map(run, map)
    if not site.has_vectors:
        raise RunError(f"{site.label} has attention alone ({site.route}), no queries and keys: there is no map of it.")
    tokens, columns = run.tokens(), run.token_columns()
    if colour not in (KIND_COLOUR, *columns) and cycle_of(colour) is None:
        known = ", ".join([KIND_COLOUR, *columns, f"{CYCLE}8"])
        raise UnknownName(
            f"Run {run.run_id!r} has no token column {str(colour)[:60]!r}; points are coloured by: {known}."
        )
    colouring = colouring_of(tokens, columns, colour)
    points = run.coordinates(projection=found["name"], site=site, head=index)
    if points.empty:
        raise RunError(f"The map {found['name']} has no points of {site.label}.")
    table = point_table(points, tokens, colouring)
    drawn = _sample(table, most)
    left_out = ""
    if len(drawn) < len(table):
        left_out = f"{len(drawn):,} of {len(table):,} points are drawn, those of a random sample of tokens."
    name = re.sub(r"\W", "_", f"{MOVES} {site.label} {index} {found['name']} {colour}")
    title = f"{title_of(site, index)}: joint map {found['name']}"
    return figure(make_joint_map(drawn, colouring, name=name), title, *_fidelity(run, site, index, found), left_out)


def _fidelity(run: Run, site: Site, head: int, found: pd.Series) -> list[str]:
    """As the page says it under its picture, warning first."""
    rows = run.fidelity(found["name"])
    mine = rows[(rows["site"] == site.key) & (rows["head"] == head)].to_dict("records")
    figures = mine[0] if mine else {}
    made = run.head_parameters(found["name"])
    made = made[(made["site"] == site.key) & (made["head"] == head)]["parameters"].tolist()
    return [
        fidelity_warning(figures), fidelity_short(figures, found["target"]), fidelity_note(figures),
        sample_note(made[0] if made else {}),
    ]  # fmt: skip


def _sample(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Points of a random sample of tokens, `most` points at most."""
    if len(table) <= most:
        return table
    token, places = pd.factorize(pd.MultiIndex.from_frame(table[["input", "position"]]))
    n = len(places) * most // len(table)
    chosen = np.random.default_rng(0).choice(len(places), n, replace=False)
    return table[np.isin(token, chosen)].reset_index(drop=True)

"""What the picture of a head shows, packed for the browser and kept: points, colours, sizes, ties, patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.types import Site, head_name
from app import cache
from app.cache import atlas, attended, hidden
from app.charts.attended import strongest_ties
from app.charts.fidelity import fidelity_warning
from app.charts.patches import TILE_PIXELS, patch_sheet
from app.components import pack
from app.components.scatter import NewPoints, Sizing, pack_scatter
from app.state import RunFacts, Selection

SIZE = "size"
SIZES = {"none": "the same", "norm": "norm", "value_norm": "value norm"}
LINE_NAMES = {
    "top3": "3 strongest", "top5": "5 strongest", "top12": "12 strongest", "top30": "30 strongest",
    "mass50": "50 % of attention", "mass90": "90 % of attention", "none": "no lines",
}  # fmt: skip


def view_of(selection: Selection) -> str:
    """The map shown, as a word."""
    return f"{selection.run}|{selection.map}|{selection.site}|{selection.head}"


def map_message(
    selection: Selection,
    facts: RunFacts,
    site: Site,
    figures: dict,
    new: NewPoints | None = None,
    new_key: str = "",
    side: str = "",
) -> bytes:
    """The packed map; kept, so that a pick does not pack it again. `new_key` names what `new` depends on, `side` that
    it is the second picture of two, which hears no keys."""
    what = f"scatter {view_of(selection)} {selection.colour} {chosen_size(selection)} {new_key} {side}"
    return cache.message(what, selection.run, lambda: _pack_map(selection, facts, site, figures, new, side))


def _pack_map(
    selection: Selection, facts: RunFacts, site: Site, figures: dict, new: NewPoints | None, side: str
) -> bytes:
    tokens, texts = cache.tokens(selection.run), cache.input_texts(selection.run)
    queries, keys = cache.points(selection.run, selection.map, site.label, selection.head)
    return pack_scatter(
        queries, keys, tokens, atlas.colouring(selection.run, selection.colour), view=view_of(selection),
        **words_of(selection, facts, site, figures), input_texts=texts,
        place={"run": selection.run, "site": site.label, "head": selection.head, "side": side},
        size=sizing(selection, tokens), size_choices=list(size_choices(selection).items()),
        line_choices=list(LINE_NAMES.items()), has_patches=not texts, new=new,
    )  # fmt: skip


def words_of(selection: Selection, facts: RunFacts, site: Site, figures: dict) -> dict[str, Any]:
    """What the picture says of the head: its name and neighbours, the caution, and what a screen reader is told."""
    queries, keys = cache.points(selection.run, selection.map, site.label, selection.head)
    n_queries, n_keys = (int(np.isfinite(places[:, 0]).sum()) for places in (queries, keys))
    name = head_name(site.depth, selection.head)
    return {
        "name": name, "walk": neighbours(facts, site, selection.head), "caution": fidelity_warning(figures),
        "alt": f"Map of {n_queries} queries and {n_keys} keys of head {name} of {site.label}, {selection.map}",
    }  # fmt: skip


def size_choices(selection: Selection) -> dict[str, str]:
    """What the size of a point can say: nothing, norms, or any column of numbers."""
    columns = cache.run(selection.run).token_columns()
    tokens = cache.tokens(selection.run)
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(tokens[name]) and tokens[name].dtype != bool]
    return {**SIZES, **{name: name.replace("_", " ") for name in numeric}}


def chosen_size(selection: Selection) -> str:
    """The choice that holds; ``none`` where the link asks for what the run does not have."""
    asked = selection.options.get(SIZE, "none")
    return asked if asked == "none" or asked in size_choices(selection) else "none"


def sizing(selection: Selection, tokens: pd.DataFrame) -> Sizing | None:
    """What the sizes say."""
    name = chosen_size(selection)
    if name == "none":
        return None
    if name in SIZES:
        norms = attended.norms(selection.run, selection.site, selection.head)
        if name == "value_norm":
            return Sizing(name, "value norm", "", norms["value"], norms["value"])
        return Sizing(name, "norm", "", norms["query"], norms["key"])
    numbers = tokens[name].to_numpy(dtype=float, na_value=np.nan)
    unit = cache.run(selection.run).token_columns()[name].unit
    return Sizing(name, name.replace("_", " "), unit, numbers, numbers)


def extra_message(selection: Selection) -> bytes:
    """Norms and strongest ties of every point, which come after the points themselves."""
    view = view_of(selection)
    name = f"extra {view}{' without sinks' if selection.hides_sinks else ''}"
    return cache.message(name, selection.run, lambda: _pack_extra(selection, view))


def _pack_extra(selection: Selection, view: str) -> bytes:
    run_id, site, head = selection.run, selection.site, selection.head
    sections = {f"{kind}_norm": values for kind, values in attended.norms(run_id, site, head).items()}
    if attended.fits(run_id):
        inputs = hidden.by_input(run_id, site, head, selection.hides_sinks)
        sections |= strongest_ties((weights, allowed) for _, weights, allowed in inputs)
    return pack({"subject": "head.extra", "view": view}, sections)


def patches_message(selection: Selection) -> bytes:
    """All patches of the run on one sheet."""
    return cache.message("patches", selection.run, lambda: _pack_patches(selection.run))


def _pack_patches(run_id: str) -> bytes:
    tokens = cache.tokens(run_id)
    sheet, tiles, across = patch_sheet(tokens, lambda input_id: cache.image(run_id, input_id))
    header = {
        "subject": "head.patches", "run": run_id, "across": across, "tile": TILE_PIXELS,
        "shown": int((tiles >= 0).sum()), "n": int((tokens["row"].fillna(-1) >= 0).sum()),
    }  # fmt: skip
    return pack(header, {"sheet": sheet, "tiles": tiles})


def neighbours(facts: RunFacts, site: Site, head: int) -> dict[str, dict | None]:
    """Where each arrow key leads: left and right along the layer and on to the next, up and down the layers."""
    stack = [each for each in facts.sites if each.stack_label == site.stack_label]
    order = [(each, index) for each in stack for index in range(each.n_heads)]
    at, layer = order.index((site, head)), stack.index(site)
    found = {
        "left": order[at - 1] if at else None,
        "right": order[at + 1] if at + 1 < len(order) else None,
        "up": (stack[layer - 1], head) if layer else None,
        "down": (stack[layer + 1], head) if layer + 1 < len(stack) else None,
    }
    return {
        way: to and {"site": to[0].label, "head": to[1], "name": head_name(to[0].depth, to[1])}
        for way, to in found.items()
    }

"""What a bundle says of heads beyond their maps: where their points fall in the small maps, and what is left of them
without their sinks."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.pipeline.without_sinks import is_measurable
from app import cache
from app.cache import atlas, hidden
from app.components import pack
from app.state import HIDDEN, SINKS, RunFacts, Selection
from app.views.atlas_sinks import counted_in_words, sinks_of_heads
from app.views.head_parts import hidden_of_head


def pixels_message(facts: RunFacts, map_name: str) -> bytes:
    """The pixel of every point in the small map of every head: a section a site, uint16 [head, point]."""
    sections = {}
    for stack in facts.stacks:
        sites = sorted((site for site in facts.sites if site.stack_label == stack), key=lambda site: site.depth)
        for site, pixels in zip(sites, atlas.stack_pixels(facts.run, map_name, stack)):
            sections[f"site{site.index}"] = pixels.ravel()
    return pack({}, sections)


def sinks_message(selection: Selection, facts: RunFacts) -> bytes:
    """Every head without its sinks: how much that hides, in numbers and words, and the scores of what is left."""
    names = [name for name in facts.scores if is_measurable(name)]
    all_heads = cache.heads(facts.run, selection.map)
    found = sinks_of_heads(selection.having(**{SINKS: HIDDEN}), facts, all_heads, names)
    table, n_read = hidden.heads(facts.run, tuple(sorted(names)))
    rows = found.heads.to_dict("records")
    says = [hidden_of_head(selection.having(site=row["site"], head=row["head"]), facts, table, n_read) for row in rows]
    header: dict[str, Any] = {
        "says": found.sentence, "rests_on": found.rests_on, "of_heads": says,
        "hidden": exactly(row["hidden"] for row in rows),
        "scores": {name: exactly(row[name] for row in rows) for name in names},
        "counted_in": {name: said for name in facts.scores if (said := counted_in_words(name))},
    }  # fmt: skip
    return pack(header, {})


def exactly(values: Any) -> list[float | None]:
    """Numbers as JSON has them, None for those that are none."""
    return [float(value) if value is not None and np.isfinite(value) else None for value in values]

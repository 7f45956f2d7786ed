"""In which order the heads of a stack are laid out: by number, or by what a score says of layers and heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDERS = {
    "layer": "by number",
    "layers": "layers by score",
    "heads": "heads by score",
    "both": "layers and heads by score",
    "rank": "all heads ranked",
}
"""Word of the link: how the page calls it."""

ORDER_HELP = "Highest first. A layer counts with the mean of its heads; every head keeps its name."


@dataclass(frozen=True)
class Row:
    """One line of the grid.

    Attributes:
        label: In front of it, as in ``L3``, or the rank of its first head.
        hint: What the label means, with the number that put it here.
        heads: Which heads, from left to right, as places in the list that was arranged.
    """

    label: str
    hint: str
    heads: tuple[int, ...]


def arrange(layers: Sequence[int], heads: Sequence[int], scores: Sequence[float], order: str) -> list[Row]:
    """Lay out the heads of a stack.

    Args:
        layers, heads: Layer and index of each head.
        scores: What orders them, highest first; NaN goes last. A layer counts with the mean of its heads.
        order: A word of `ORDERS`.

    Returns:
        The rows from top to bottom. With "rank" each is as long as the widest layer.
    """
    values = np.where(np.isfinite(scores), scores, -np.inf)
    if order == "rank":
        ranked = [int(place) for place in np.argsort(-values, kind="stable")]
        width = max(heads) + 1
        starts = range(0, len(ranked), width)
        return [Row(str(start + 1), f"from rank {start + 1}", tuple(ranked[start : start + width])) for start in starts]
    rows = {layer: [p for p in range(len(layers)) if layers[p] == layer] for layer in sorted(set(layers))}
    means = {layer: _mean([scores[place] for place in places]) for layer, places in rows.items()}
    numbers = list(rows)
    if order in ("layers", "both"):
        numbers.sort(key=lambda layer: -means[layer])
    if order in ("heads", "both"):
        rows = {layer: sorted(places, key=lambda place: -values[place]) for layer, places in rows.items()}
    said = {
        layer: f", mean {means[layer]:.2f}" if order != "layer" and np.isfinite(means[layer]) else "" for layer in rows
    }
    return [Row(f"L{layer}", f"layer {layer}{said[layer]}", tuple(rows[layer])) for layer in numbers]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else -np.inf

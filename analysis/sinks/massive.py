"""Massive activations: the dimensions that make a sink, and the tokens of images that have them or a large norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from analysis.errors import UserError
from analysis.sinks.levels import Figures
from analysis.sinks.towers import Tower

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_RATIO, PUBLISHED_WIDTH = 20.0, 4096
"""The published threshold, and the width of the smallest model it was published for."""


@dataclass(frozen=True, slots=True)
class VisualSinkRule:
    """Which tokens of an image are sinks by their state.

    Attributes:
        ratio: Largest absolute value in the massive dimensions over the root mean square of the state; None for the
            published 20, or in models narrower than 4,096 the same share of the largest that can be: a ratio is at most
            the square root of the width, and 20 is 0.31 of it at 4,096. The scaling is ours.
        first_layer: Layers before this one do not count; published.
        norm: A patch stands out whose norm is this many times the median patch's of the same image and layer. Ours.
    """

    ratio: float | None = None
    first_layer: int = 2
    norm: float = 2.0

    def __post_init__(self) -> None:
        if (self.ratio is not None and self.ratio <= 0) or self.first_layer < 0 or self.norm <= 1:
            raise UserError(
                f"A visual sink has a ratio over {self.ratio}, from layer {self.first_layer} on, and a large norm is "
                f"{self.norm:g} times the median; give a ratio over 0, a layer of 0 or more and a factor over 1."
            )

    def threshold(self, d_model: int) -> float:
        """The ratio for states of this width."""
        if self.ratio is not None:
            return self.ratio
        return PUBLISHED_RATIO * min(1.0, math.sqrt(d_model / PUBLISHED_WIDTH))


def massive_dimensions(tower: Tower, figures: Figures, d_model: int) -> pd.DataFrame:
    """The dimensions in which the primary sinks' states are largest, layer by layer.

    Returns:
        A row a layer and dimension, the three commonest of each layer: layer (the state in front of it; the last row is
        the state behind all), dimension, inputs (share of inputs whose primary sink has its largest value there),
        ratio (mean of largest value over root mean square in those), most (the largest ratio there can be, the square
        root of the width), shared (share of the other tokens that are a sink of some head in this layer and have their
        largest value in the same dimension; NaN where there is none).

    Source: size over the root mean square at the sink: Sun et al. (2024), "Massive Activations in Large Language
        Models"; shared dimensions: "See What You Are Told" (2025). Shares over inputs are ours.
    """
    import pandas as pd

    rows = []
    for layer, (peaks, ratios) in enumerate(zip(figures["peak_dim"], figures["peak_ratio"], strict=True)):
        of_primary = peaks[tower.primary].astype(np.int64)
        others = (tower.share[layer] > 0) & ~tower.is_primary if layer < len(tower.share) else None
        dims, counts = np.unique(of_primary, return_counts=True)
        for place in np.argsort(-counts, kind="stable")[:3]:
            here = of_primary == dims[place]
            shared = np.nan if others is None or not others.any() else float((peaks[others] == dims[place]).mean())
            ratio = float(ratios[tower.primary][here].mean())
            rows.append((layer, int(dims[place]), float(here.mean()), ratio, math.sqrt(d_model), shared))
    return pd.DataFrame(rows, columns=["layer", "dimension", "inputs", "ratio", "most", "shared"])


def visual_sinks(
    figures: Figures, is_patch: Bool[np.ndarray, " point"], d_model: int, rule: VisualSinkRule | None = None
) -> Bool[np.ndarray, "layer point"]:
    """Patches whose state is massive where the primary sink's is, in each layer; the state behind all layers last.

    Source: phi(h) = max over the sink's dimensions of abs(h) / RMS(h), a sink where phi > 20, layers 2 and later: "See
        What You Are Told: Visual Attention Sink in Large Multimodal Models" (2025). Its dimensions are those of BOS;
        here those of the primary sink of the same image, in each layer by itself.
    """
    rule = rule or VisualSinkRule()
    found = (figures["massive_ratio"] > rule.threshold(d_model)) & is_patch
    found[: rule.first_layer] = False
    return found


def large_norms(
    norm: Float[np.ndarray, "layer point"],
    is_patch: Bool[np.ndarray, " point"],
    tower: Tower,
    rule: VisualSinkRule | None = None,
) -> Bool[np.ndarray, "layer point"]:
    """Patches whose state is much longer than the usual patch's of the same image and layer: what registers replace.

    Source: Darcet et al. (2024), "Vision Transformers Need Registers", cuts the norms of the last layer by hand where
        they part (150 for DINOv2); the factor over the median is ours.
    """
    rule = rule or VisualSinkRule()
    found = np.zeros(norm.shape, dtype=bool)
    for place in range(tower.n_inputs):
        of_input = np.flatnonzero((tower.inputs == place) & is_patch)
        if len(of_input):
            usual = np.median(norm[:, of_input], axis=1, keepdims=True)
            found[:, of_input] = norm[:, of_input] > rule.norm * usual
    return found

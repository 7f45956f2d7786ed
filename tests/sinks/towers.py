"""A tower made by hand, for tests of what is told from it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.sinks.columns import USUAL
from analysis.sinks.towers import Tower
from analysis.types import Band, Site


def make_tower(lengths: list[int], n_layers: int, primary: list[int], score: np.ndarray | None = None) -> Tower:
    """Two heads a layer; `primary` are rows of the token table; `score` is [layer, point], 0 by default."""
    sites = [
        Site(i, f"h.{i}#0", f"text.dec.self.{i}", "text", "dec", "self", i, 2, 2, 4, 4, 0.5, Band(right=0))
        for i in range(n_layers)
    ]
    n_points, n_inputs = sum(lengths), len(lengths)
    score = np.zeros((n_layers, n_points), np.float32) if score is None else score.astype(np.float32)
    share = (score >= USUAL.threshold).astype(np.float64)
    nothing = [np.zeros((2, n_inputs)) for _ in sites]
    counts = [np.zeros((2, n_inputs), np.int64) for _ in sites]
    rows = np.array(primary)
    of_primary = [np.stack([of_layer[rows]] * 2) for of_layer in score]
    inputs = np.repeat(np.arange(n_inputs), lengths)
    return Tower("text.dec.self", sites, inputs, score, share, nothing, counts, rows, of_primary, USUAL)


def make_tokens(lengths: list[int]) -> pd.DataFrame:
    """Words named by their place."""
    rows = [(number, place, f"w{place}") for number, n in enumerate(lengths) for place in range(n)]
    return pd.DataFrame(rows, columns=["input_id", "position", "text"])

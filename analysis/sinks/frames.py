"""Reference frames: whether attention is anchored to one token, to both ends, or to several, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import eigh

from analysis.errors import UserError
from analysis.sinks.towers import Tower

if TYPE_CHECKING:
    import pandas as pd

CENTRALISED, BIDIRECTIONAL, DISTRIBUTED, NO_FRAME = "centralised", "bidirectional", "distributed", "none"

MOST_INPUTS, MOST_TOKENS = 24, 256
"""Inputs that are looked at, drawn by seed, and the longest of them: eigenvalues cost the cube of the length."""


@dataclass(frozen=True, slots=True)
class FrameRule:
    """What an anchor is, and what anchors make a frame. All ours: the paper's thresholds were not readable.

    Attributes:
        mass: A token is an anchor from this share of all attention on, and
        times: from this many times its even share on.
        most: One anchor, or both ends, hold the frame with this share of the anchors' attention.
        end: The ends are this share of the positions at either side, one token at least.
    """

    mass: float = 0.1
    times: float = 3.0
    most: float = 2 / 3
    end: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.mass < 1 and self.times >= 1 and 0.5 <= self.most <= 1 and 0 < self.end < 0.5):
            raise UserError(
                f"An anchor has {self.mass:g} of all attention and {self.times:g} times its even share, a frame "
                f"{self.most:g} of the anchors', an end {self.end:g} of the positions; give shares between 0 and 1, of "
                "1 times or more, 0.5 or more, and less than 0.5."
            )


class Frame(NamedTuple):
    """The frame of one matrix of attention.

    Attributes:
        label: `CENTRALISED`, `BIDIRECTIONAL`, `DISTRIBUTED` or `NO_FRAME`.
        gini: Of the attention that tokens receive, 0 (all alike) to 1 - 1/n (one takes all).
        hhi: Sum of the squared shares of attention received, 1/n (all alike) to 1.
        n_anchors: Tokens that are anchors.
        centralisation: (n max share - 1) / (n - 1), 0 (all alike) to 1 (a star): degree centralisation of Freeman
            (1978) with the attention received as degree.
        fiedler: Second smallest eigenvalue of the Laplacian of the symmetrised attention, 0 (falls apart) to 1 for
            weights that sum to n; a star round one anchor has a larger one than a chain.
        alignment: Squared weight of the strongest anchor in the top eigenvector of the symmetrised attention, 0..1.
    """

    label: str
    gini: float
    hhi: float
    n_anchors: int
    centralisation: float
    fiedler: float
    alignment: float


def frame_of(attention: Float[np.ndarray, "query key"], rule: FrameRule | None = None) -> Frame:
    """The reference frame of the attention of one input, mean over heads.

    Args:
        attention: Weights, 0..1.
        rule: The thresholds.

    Source: the three frames, and concentration, number of anchors, centralisation, algebraic connectivity and the top
        eigenvector as evidence: "What are you sinking? A geometric approach on attention sink" (2025), of which the
        abstract and a summary were readable; formulas and thresholds are ours.
    """
    rule = rule or FrameRule()
    n = len(attention)
    total = attention.sum(axis=0)
    shares = total / max(float(total.sum()), 1e-30)
    is_anchor = (shares >= rule.mass) & (shares >= rule.times / n)
    ascending = np.sort(shares)
    gini = float((2 * np.arange(1, n + 1) - n - 1) @ ascending / n)
    graph = (attention + attention.T) / 2
    np.fill_diagonal(graph, 0)
    laplacian = np.diag(graph.sum(axis=1)) - graph
    fiedler = float(np.linalg.eigvalsh(laplacian)[1]) if n > 1 else 0.0
    top = eigh(graph, subset_by_index=[n - 1, n - 1])[1][:, 0]
    return Frame(
        label_of(shares, is_anchor, rule), gini, float(shares @ shares), int(is_anchor.sum()),
        float((n * shares.max() - 1) / max(n - 1, 1)), fiedler, float(top[np.argmax(shares)] ** 2),
    )  # fmt: skip


def label_of(shares: Float[np.ndarray, " key"], is_anchor: Bool[np.ndarray, " key"], rule: FrameRule) -> str:
    """The frame that the anchors make."""
    if not is_anchor.any():
        return NO_FRAME
    n, held = len(shares), np.where(is_anchor, shares, 0)
    if held.max() >= rule.most * held.sum():
        return CENTRALISED
    end = max(1, round(rule.end * n))
    start, behind = held[:end], held[n - end :]
    if start.any() and behind.any() and start.max() + behind.max() >= rule.most * held.sum():
        return BIDIRECTIONAL
    return DISTRIBUTED


def frames(run: Any, tower: Tower, rule: FrameRule | None = None, seed: int = 0) -> pd.DataFrame:
    """The frames of every layer of a tower, and of all its layers together.

    Returns:
        A row a layer, and one with layer -1 for the mean over layers, in which anchors of single layers come together:
        label (the commonest over inputs), agreeing (share of inputs that have it), the figures of `Frame` (means over
        inputs), n (inputs).
    """
    import pandas as pd

    lengths = np.bincount(tower.inputs)
    able = np.flatnonzero((lengths > 2) & (lengths <= MOST_TOKENS))
    chosen = np.sort(np.random.default_rng(seed).permutation(able)[:MOST_INPUTS])
    ids = run.inputs()["input_id"].to_numpy()[chosen]
    found: list[tuple] = []
    for input_id in ids.tolist():
        everything = run.shares_all(input_id)
        layers = [everything[site.key].mean(axis=0, dtype=np.float64) for site in tower.sites]
        for layer, attention in [*enumerate(layers), (-1, np.mean(layers, axis=0))]:
            found.append((layer, *frame_of(attention, rule)))
    table = pd.DataFrame(found, columns=["layer", *Frame._fields])
    return pd.DataFrame([_over_inputs(layer, rows) for layer, rows in table.groupby("layer", sort=True)])


def _over_inputs(layer: int, rows: pd.DataFrame) -> dict[str, Any]:
    labels = rows["label"].value_counts()
    means = rows.drop(columns=["layer", "label"]).mean().to_dict()
    return {"layer": layer, "label": labels.index[0], "agreeing": labels.iloc[0] / len(rows), **means, "n": len(rows)}

"""How often a single key takes nearly everything."""

import numpy as np

from analysis.metrics import AttentionMap, Rows, metric

MOST = 0.9
"""The weight from which a key dominates its row."""


@metric(
    "dominant_key", title="Rows with one dominant key", unit="share of rows, 0 to 1; dominant = weight over 0.9",
    high="each token looks at one other", group="spread", closed_null=True, on_cross=True,
)  # fmt: skip
def dominant_key(attended: AttentionMap, most: float = MOST) -> Rows:
    """Whether one key of the row has a weight over `most`.

    Returns:
        1 or 0 a row, so the mean is a share of rows. Permuting keys does not change it; the null is uniform attention,
        which no key dominates: 0.

    Source: [A; ours] after Richter and Wattenhofer (2020), "Normalized Attention Without Probability Cage", who ask
        whether a head isolates one token; threshold 0.9.
    """
    value = attended.ascending[..., -1] > most
    return Rows(value.astype(np.float32), np.zeros_like(attended.mass[:, :1]), attended.rows_with_a_choice())

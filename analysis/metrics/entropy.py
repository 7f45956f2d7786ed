"""How widely a head spreads its attention."""

import numpy as np

from analysis.metrics import AttentionMap, Rows, metric


@metric(
    "entropy", title="Entropy", unit="bits; 0 = one key, log2 of the number of keys = all alike", high="spread out",
    group="spread", closed_null=True, on_cross=True,
)  # fmt: skip
def entropy(attended: AttentionMap) -> Rows:
    """Shannon entropy of each attention row.

    Args:
        attended: A batch. A learned sink's mass (rows that sum to less than 1) counts as one more outcome.

    Returns:
        Bits, from 0 (all weight on one key) to log2 of the row's allowed keys (uniform). Permuting keys does not
        change an entropy, so the null is that maximum: the entropy of uniform attention over the allowed keys.
        Rows with a single allowed key are left out.

    Source: Shannon (1948); as a reading of attention heads, Clark et al. (2019), "What Does BERT Look At?",
        section 3.3, which averages over rows as we do, in nats.
    """
    sink = np.clip(1 - attended.mass, 0, 1)
    sink[sink < 1e-5] = 0
    bits = -attended.p_log2_p - sink * np.log2(np.where(sink > 0, sink, 1))
    uniform = np.log2(np.maximum(attended.n_allowed, 1))
    return Rows(np.maximum(bits, 0), uniform[:, None], attended.rows_with_a_choice())

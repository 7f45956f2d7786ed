"""Entropy on a scale that does not depend on how many keys a row has."""

import numpy as np

from analysis.metrics import AttentionMap, Rows, metric
from analysis.metrics.entropy import entropy


@metric(
    "entropy_share", title="Entropy share", unit="0 to 1; share of the most a row can have", high="spread out",
    group="spread", closed_null=True, on_cross=True,
)  # fmt: skip
def entropy_share(attended: AttentionMap) -> Rows:
    """Entropy of each row over the log2 of its own number of allowed keys.

    Returns:
        0..1; 0 = all weight on one key, 1 = uniform. With a learned sink, whose mass is one more outcome, slightly
        more than 1 is possible. Permuting keys does not change it: the null is 1, uniform attention.

    Source: normalised entropy, also called Pielou's evenness (1966); ours as a reading of attention rows of unequal
        length.
    """
    bits = entropy(attended)
    most = np.where(bits.null > 0, bits.null, 1)
    return Rows(bits.value / most, np.ones_like(bits.null), bits.counts)

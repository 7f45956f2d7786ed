"""Over how many keys a head spreads its attention, as a number of keys."""

import numpy as np

from analysis.metrics import AttentionMap, Rows, metric
from analysis.metrics.entropy import entropy


@metric(
    "effective_keys", title="Effective keys", unit="keys; 1 = a single one", high="many keys share the weight",
    group="spread", closed_null=True, on_cross=True,
)  # fmt: skip
def effective_keys(attended: AttentionMap) -> Rows:
    """Two to the power of each row's entropy: how many keys with equal weights would spread as widely.

    Returns:
        Keys, from 1 to the row's number of allowed keys. Null: that number, uniform attention.

    Source: the perplexity of a distribution, Hill's (1973) number of order 1.
    """
    bits = entropy(attended)
    return Rows(np.exp2(bits.value), np.exp2(bits.null), bits.counts)

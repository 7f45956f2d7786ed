"""How much each token attends to the first one of the input."""

import numpy as np

from analysis.metrics import AttentionMap, Rows, metric, weight_at


@metric("first_token", title="First token", unit="mean weight, 0 to 1", high="the first token swallows attention")
def first_token(attended: AttentionMap) -> Rows:
    """Weight of each query on position 0, A_{i,0}: the commonest attention sink.

    Returns:
        0..1; 1 = all attention on the first token. Null: the row's mass spread evenly over its allowed keys. Query 0
        itself is left out, as are queries whose window does not reach position 0.

    Source: Xiao et al. (2023), "Efficient Streaming Language Models with Attention Sinks"; Gu et al. (2024), "When
        Attention Sink Emerges in Language Models", whose sink score keeps query 0 (for long inputs the same figure).
    """
    places = attended.places[None]
    return weight_at(attended, np.zeros_like(places), places > 0)

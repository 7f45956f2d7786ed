"""How much of a model's look goes to what it was given, while it writes."""

import numpy as np

from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing


@metric(
    "lookback_ratio", title="Lookback ratio", unit="ratio, 0 to 1", high="looks at what it was given",
    group="in-context", closed_null=True,
)  # fmt: skip
def lookback_ratio(attended: AttentionMap) -> Rows | PerInput:
    """Of each token that the model wrote itself: mean weight on the tokens it was given, c / (c + w), against the mean
    weight w on those it had written, the token itself counted.

    Returns:
        0..1; 1 = looks back at the context alone. Null: even attention, 0.5. Absent where nothing was written.

    Source: Chuang et al. (2024), "Lookback Lens: Detecting and Mitigating Contextual Hallucinations in Large Language
        Models Using Only Attention Maps", section 2.
    """
    written = attended.tokens.written
    if written is None:
        return nothing(attended)
    own = attended.allowed & written[:, None, :]
    given = attended.allowed & ~written[:, None, :]
    n_own, n_given = own.sum(axis=-1), given.sum(axis=-1)
    on_given = _mean(attended.attention, given, n_given)
    both = on_given + _mean(attended.attention, own, n_own)
    value = on_given / np.where(both > 0, both, np.float32(1))
    counts = written[:, attended.places] & (n_own > 0) & (n_given > 0)
    return Rows(value, np.full_like(value, 0.5), counts)


def _mean(attention: np.ndarray, such: np.ndarray, n_such: np.ndarray) -> np.ndarray:
    """Mean weight of each row on its keys of a kind, [input, head, query]."""
    total = np.einsum("bhqk,bqk->bhq", attention, such.astype(np.float32))
    return total / np.maximum(n_such, 1)[:, None]

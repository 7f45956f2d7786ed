"""How much attention goes to punctuation."""

from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_on


@metric(
    "punctuation_share", title="Punctuation", unit="mean weight, 0 to 1", high="rests on punctuation",
    group="structure", on_cross=True,
)  # fmt: skip
def punctuation_share(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on the punctuation marks of its text.

    Returns:
        0..1; 1 = all attention on punctuation. Null: their share among the allowed keys. Texts without any say nothing.

    Source: Clark et al. (2019), "What Does BERT Look At?", section 3.2 (periods and commas).
    """
    punctuation = attended.tokens.punctuation
    return nothing(attended) if punctuation is None else weight_on(attended, punctuation)

"""How much attention goes to separators."""

from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_on


@metric(
    "separator_share", title="Separators", unit="mean weight, 0 to 1", high="rests on separators",
    group="structure", on_cross=True,
)  # fmt: skip
def separator_share(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on the separator tokens of its input, [SEP] or </s>.

    Returns:
        0..1; 1 = all attention on separators. Null: their share among the allowed keys.

    Source: Clark et al. (2019), "What Does BERT Look At?", section 3.2.
    """
    separator = attended.tokens.separator
    return nothing(attended) if separator is None else weight_on(attended, separator)

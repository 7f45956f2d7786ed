"""How much attention goes to tokens that stand for no text or patch."""

from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_on


@metric(
    "special_share", title="Special tokens", unit="mean weight, 0 to 1", high="rests on special tokens",
    group="structure", on_cross=True,
)  # fmt: skip
def special_share(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on the special tokens of its input: CLS, SEP, beginning, end, registers.

    Returns:
        0..1; 1 = all attention on special tokens. Null: their share among the allowed keys. Every query counts, special
        ones too, unless it may attend to nothing else.

    Source: Clark et al. (2019), "What Does BERT Look At?", section 3.2, figure 2; Kovaleva et al. (2019), "Revealing
        the Dark Secrets of BERT", the vertical pattern.
    """
    special = attended.tokens.special
    return nothing(attended) if special is None else weight_on(attended, special)

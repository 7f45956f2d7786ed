"""How much attention goes to the CLS token."""

from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_on


@metric(
    "cls_share", title="CLS", unit="mean weight, 0 to 1", high="rests on CLS",
    group="structure", on_cross=True,
)  # fmt: skip
def cls_share(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on CLS, A_{i,CLS}, the CLS query itself included.

    Returns:
        0..1; 1 = all attention on CLS. Null: the row's mass spread evenly over its allowed keys. Absent where the
        model has no CLS token.

    Source: Walmer et al. (2023), "Teaching Matters: Investigating the Role of Supervision in Vision Transformers": the
        mean over all queries i of A_{i,CLS}.
    """
    cls = attended.tokens.cls
    return nothing(attended) if cls is None else weight_on(attended, cls)

"""How much each token attends to the one before it."""


from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_at


@metric("previous_token", title="Previous token", unit="mean weight, 0 to 1", high="tokens look one step back")
def previous_token(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on the position before it, A_{i,i-1}.

    Returns:
        0..1; 1 = all attention one step back. Null: the row's mass spread evenly over its allowed keys. The first
        query has no previous token and is left out. Texts only: the patches of an image stand in the order of reading,
        in which the one before says little.

    Source: Zheng et al. (2024), "Attention Heads of Large Language Models: A Survey"; the mean of A_{i,i-1}, as in
        the previous-token detector of TransformerLens.
    """
    if attended.is_image:
        return nothing(attended)
    before = attended.places[None] - 1
    return weight_at(attended, before, before >= 0)

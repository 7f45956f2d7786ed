"""How much each token attends to the one after it."""


from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_at


@metric("next_token", title="Next token", unit="mean weight, 0 to 1", high="tokens look one step ahead")
def next_token(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on the position after it, A_{i,i+1}; nothing in causal attention, where it is hidden.

    Returns:
        0..1; 1 = all attention one step ahead. Null: the row's mass spread evenly over its allowed keys. The last
        query has no next token and is left out. Texts only.

    Source: the "next token" pattern of Clark et al. (2019), "What Does BERT Look At?", section 3.1.
    """
    if attended.is_image:
        return nothing(attended)
    after = attended.places[None] + 1
    return weight_at(attended, after, after < attended.allowed.shape[2])

"""How much each token attends to the last one of the input."""


from analysis.metrics import AttentionMap, PerInput, Rows, metric, nothing, weight_at


@metric("last_token", title="Last token", unit="mean weight, 0 to 1", high="the last token swallows attention")
def last_token(attended: AttentionMap) -> Rows | PerInput:
    """Weight of each query on the last position; nothing in causal attention, where only that token itself sees it.

    Returns:
        0..1; 1 = all attention on the last token. Null: the row's mass spread evenly over its allowed keys. The last
        query itself is left out, as are queries that may not attend to the last position. Texts
        only.

    Source: the [SEP] at the end as a sink, Clark et al. (2019), "What Does BERT Look At?", section 3.2; by position
        instead of by token, ours.
    """
    if attended.is_image:
        return nothing(attended)
    positions = attended.places[None]
    last = attended.n_tokens[:, None] - 1
    return weight_at(attended, last, positions != last)

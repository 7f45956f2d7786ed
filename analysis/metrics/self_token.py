"""How much each token attends to itself."""


from analysis.metrics import AttentionMap, Rows, metric, weight_at


@metric("self_token", title="Own token", unit="mean weight, 0 to 1", high="tokens look at themselves")
def self_token(attended: AttentionMap) -> Rows:
    """Weight of each query on its own position, A_ii.

    Returns:
        0..1; 1 = all attention on itself. Null: the row's mass spread evenly over its allowed keys. Rows with a
        single allowed key (the first query of a causal head) are left out: they attend to themselves by force.

    Source: the "current token" pattern of Clark et al. (2019), "What Does BERT Look At?", section 3.1.
    """
    own = attended.places[None]
    return weight_at(attended, own, own < attended.allowed.shape[2])

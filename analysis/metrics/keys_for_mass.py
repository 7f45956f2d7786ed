"""How few keys hold most of a row's weight."""

import numpy as np

from analysis.metrics import AttentionMap, Rows, metric

MASS = 0.9
"""The share of a row's weight that is to be held."""


@metric(
    "keys_for_mass", title="Keys for 90 % of the weight", unit="keys; 1 = a single one does", high="weight is spread",
    group="spread", closed_null=True, on_cross=True,
)  # fmt: skip
def keys_for_mass(attended: AttentionMap, mass: float = MASS) -> Rows:
    """The smallest k such that the k largest weights of a row hold `mass` of what the row holds.

    Returns:
        Keys, 1 up to the number of allowed keys. Permuting keys does not change it; the null is uniform attention
        over the allowed keys.

    Source: the k_p of studies of sparse attention (the smallest top-k with mass p); ours in taking p of the row's own
        sum, so that a learned sink does not make it unreachable.
    """
    # Largest keys hold `mass` once the smallest left out hold no more than the rest; a hair over it, as fp32 rounds.
    rest = np.float32(1 - mass + 1e-6) * attended.mass
    held, left_out = np.zeros_like(rest), np.zeros_like(rest)
    # Key by key over all rows: several times faster than row by row, and without a second map.
    for key in range(attended.ascending.shape[-1]):
        held += attended.ascending[..., key]
        left_out += held <= rest
    uniform = np.ceil(mass * attended.n_allowed - 1e-6)
    return Rows(attended.ascending.shape[-1] - left_out, uniform[:, None], attended.rows_with_a_choice())

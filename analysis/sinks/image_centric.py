"""Which queries of which heads look at the image itself, and not at its sinks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

IMAGE_SHARE, SINK_PART = 0.2, 0.5
"""The published thresholds."""


def image_centric(
    weights: Float[np.ndarray, "head query key"],
    is_image: Bool[np.ndarray, " key"],
    sinks: Bool[np.ndarray, "head key"],
    image_share: float = IMAGE_SHARE,
    sink_part: float = SINK_PART,
) -> Bool[np.ndarray, "head query"]:
    """Which queries of each head give the image enough attention, and not too much of that to sinks.

    Args:
        weights: Attention, 0..1.
        is_image: True at the tokens of the image.
        sinks: True at the sinks of each head.
        image_share: Attention that the tokens of the image get together, at least, 0..1.
        sink_part: Part of it that sinks among them get, at most, 0..1.

    Returns:
        True where a head is image-centric for the query.

    Source: Kang et al. (2025), "See What You Are Told: Visual Attention Sink in Large Multimodal Models": a share of
        0.2 or more and a part (rho) of 0.5 or less. There sinks are tokens with massive activations, the same in all
        heads, and queries are those of a language model; here sinks are those that the caller found.
    """
    of_image = weights[:, :, is_image].sum(axis=-1, dtype=np.float64)
    of_sinks = (weights * (sinks & is_image)[:, None, :]).sum(axis=-1, dtype=np.float64)
    return (of_image >= image_share) & (of_sinks <= sink_part * of_image)

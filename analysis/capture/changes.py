"""What can be done to an attention call; `analysis.capture.edits` does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from analysis.errors import UserError


@dataclass(frozen=True, eq=False)
class SetOutput:
    """Replace the output of one head.

    Attributes:
        site: Key of the site, as in ``h.3.attn#0``.
        head: Query head.
        value: What it gives instead at every query, [d_value]; None for zero.
        rows: Inputs of the batch; None for all.
        queries: Only at these queries; None for all.
    """

    site: str
    head: int
    value: Float[Tensor, " d_value"] | None = None
    rows: Sequence[int] | None = None
    queries: Bool[Tensor, " query"] | None = None


@dataclass(frozen=True, eq=False)
class Knockout:
    """Keep queries of one head from some keys: the softmax spreads over the others.

    A query that is left without any key gives an output of zero.

    Attributes:
        site: Key of the site.
        head: Query head; None for all heads of the site.
        blocked: True where the query may no longer attend to the key.
        rows: Inputs of the batch; None for all.
    """

    site: str
    head: int | None
    blocked: Bool[Tensor, "query key"]
    rows: Sequence[int] | None = None


@dataclass(frozen=True, eq=False)
class Redistribute:
    """Take part of the attention of one head from some keys and give it to others, in proportion to what they have.

    The sinks keep the share `keep` of their weights; what they lose is shared out among the receivers, and all other
    weights stay. Without receivers named, nothing kept is the same as the sinks' columns masked. A query whose
    receivers have no weight at all stays as it is.

    Source: the redistribution of Kang et al. (2025), "See What You Are Told: Visual Attention Sink in Large Multimodal
        Models", there with `keep` 0.6 and the image tokens that are no sinks as receivers.

    Attributes:
        site: Key of the site.
        head: Query head.
        sinks: True at the keys that lose, for all queries or for each.
        keep: Share of their weights that the sinks keep, 0..1.
        receivers: True at the keys that gain, for all queries or for each; None for all other keys.
        queries: Only at these queries; None for all.
        rows: Inputs of the batch; None for all.
    """

    site: str
    head: int
    sinks: Bool[Tensor, " key"] | Bool[Tensor, "query key"]
    keep: float = 0.0
    receivers: Bool[Tensor, " key"] | Bool[Tensor, "query key"] | None = None
    queries: Bool[Tensor, " query"] | None = None
    rows: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= 1:
            raise UserError(f"The share that sinks keep is {self.keep:g}; give 0 (nothing) to 1 (all).")


@dataclass(frozen=True, eq=False)
class Gate:
    """Multiply the output of each head by a number; at 1 nothing changes, and autograd gives the derivative by it.

    Attributes:
        site: Key of the site.
        values: One number a head, for all inputs of the batch or for each.
    """

    site: str
    values: Float[Tensor, " head"] | Float[Tensor, "batch head"]


Change = SetOutput | Knockout | Redistribute | Gate

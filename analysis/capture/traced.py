"""A traced call, and the same in the axes of the project: whatever leading axes a model has, [batch, head, ...]."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.capture.attention import BLOCKED

NEAR_ZERO = 1e-5
"""What rounding may leave of a score after the scaled product is taken away, as a share of the largest score."""

LARGE_SCORE = 100.0
"""Rounding of larger scores changes weights, and is kept as if something had been added."""

HIDDEN_SCORE, HIDDEN_WEIGHT = -99.0, 1e-20
"""Some models hide keys by adding as little as -100: cells that got so much less and end with next to no weight."""

HEAD_COUNTS = (
    "num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads", "num_head", "n_local_heads",
    "encoder_attention_heads", "decoder_attention_heads",
)  # fmt: skip
"""How attention modules and configs call the number of their heads."""


@dataclass(frozen=True)
class TracedCall:
    """One attention call as it was computed; leading axes as the model had them, not yet [batch, head].

    Attributes:
        q: Queries, [..., query, d_head].
        k: Keys, [..., key, d_head].
        v: Values, [..., key, d_value].
        output: Weights times values, [..., query, d_value].
        scale: Factor on q·k; None when something else than scaling, a cap, an addition or a mask happened to it.
        softcap: ``c`` of ``c * tanh(score / c)``, or None.
        product: q·k as the model computed it, [..., query, key]; None for a kernel, which does not show it.
        scores: What went into the softmax, like `product`.
        weights: What the values were multiplied by, like `product`.
        mask: A kernel's mask, as `scaled_dot_product_attention` takes it.
        is_causal: The kernel hides later keys by itself.
        is_cross: Queries and keys were given as different tensors; None when that cannot be seen.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor
    scale: float | None
    softcap: float | None = None
    product: Tensor | None = None
    scores: Tensor | None = None
    weights: Tensor | None = None
    mask: Tensor | None = None
    is_causal: bool = False
    is_cross: bool | None = None


@dataclass(frozen=True)
class Observed:
    """What a model itself computed in one traced call.

    Attributes:
        product: q·k before any scaling.
        scores: What went into the softmax.
        weights: What the values were multiplied by; 0 in the row of a query that may see no key.
    """

    product: Float[Tensor, "batch head query key"]
    scores: Float[Tensor, "batch head query key"]
    weights: Float[Tensor, "batch head query key"]


def call_fields(traced: TracedCall, n_heads: int | None, keep_outputs: bool) -> dict[str, Any]:
    """The fields of a `Call` that a traced call fills.

    Args:
        n_heads: Heads of the module that called, where it tells.
    """
    arrange = _Arrangement(tuple(traced.q.shape[:-2]), n_heads)
    mask, bias, observed = traced.mask, None, None
    if traced.weights is not None:
        observed = Observed(arrange(traced.product), arrange(traced.scores), arrange(traced.weights))
        mask, bias = _mask_and_bias(observed, traced.scale, traced.softcap)
        if mask is not None and bool((sees_nothing := ~mask.any(dim=-1, keepdim=True)).any()):
            observed = replace(observed, weights=observed.weights.masked_fill(sees_nothing, 0.0))
    elif mask is not None and (traced.q.ndim != 4 or arrange.is_moving):
        mask = arrange(mask.expand(*traced.q.shape[:-1], mask.shape[-1]))
    output = arrange(traced.output).transpose(1, 2).clone() if keep_outputs else None  # some models add to it
    return {
        "q": arrange(traced.q),
        "k": _without_repeats(arrange(traced.k)),
        "v": _without_repeats(arrange(traced.v)),
        "mask": mask,
        "position_bias": bias,
        "scale": float("nan") if traced.scale is None else traced.scale,
        "softcap": traced.softcap,
        "is_causal": traced.is_causal and traced.q.shape[-2] > 1,
        "output": output,
        "observed": observed,
    }


def count_heads(modules: list[torch.nn.Module]) -> int | None:
    """Heads as the innermost of the running modules tells that knows them, three levels up at most."""
    for module in reversed(modules[-3:]):
        for holder in (module, getattr(module, "config", None)):
            for name in HEAD_COUNTS:
                if isinstance(count := getattr(holder, name, None), int) and not isinstance(count, bool):
                    return count
    return None


class _Arrangement:
    """Leading axes to [batch, head]: which of them are heads, and what of the rest makes the batch."""

    def __init__(self, lead: tuple[int, ...], n_heads: int | None) -> None:
        self.shape = (1, 1)
        self.order = tuple(range(len(lead)))
        if len(lead) == 1:
            heads = n_heads if n_heads and lead[0] % n_heads == 0 else 1
            self.shape = (lead[0] // heads, heads)
        elif lead:
            matching = [axis for axis, size in enumerate(lead) if size == n_heads]
            usual = 1 if len(lead) == 2 else len(lead) - 1
            axis = usual if usual in matching or not matching else matching[-1]
            self.order = (*(other for other in self.order if other != axis), axis)
            self.shape = (-1, lead[axis])

    @property
    def is_moving(self) -> bool:
        return self.order != tuple(range(len(self.order)))

    def __call__(self, tensor: Tensor) -> Tensor:
        count = len(self.order)
        moved = tensor.permute(*self.order, count, count + 1) if self.is_moving else tensor
        if count == 2:
            return moved
        batch, heads = self.shape
        return moved.reshape(batch, heads, *moved.shape[-2:])


def _without_repeats(tensor: Tensor) -> Tensor:
    """Keys or values that every head shares, once."""
    return tensor[:, :1] if tensor.shape[1] > 1 and tensor.stride(1) == 0 else tensor


def _mask_and_bias(
    observed: Observed, scale: float | None, softcap: float | None
) -> tuple[Tensor | None, Tensor | None]:
    """What was added to the scaled product: cells that are hidden (False) and, where others changed too, the addend."""
    if scale is None:
        return None, None
    scores = observed.scores.float()
    content = observed.product.float() * scale
    content = content if softcap is None else torch.tanh(content / softcap) * softcap
    added = torch.nan_to_num(scores - content, neginf=2 * BLOCKED)
    is_open = ~((added <= BLOCKED) | ((added <= HIDDEN_SCORE) & (observed.weights < HIDDEN_WEIGHT)))
    largest = float((scores.abs() * is_open).nan_to_num(posinf=0.0).max()) if scores.numel() else 0.0
    has_bias = bool(((added.abs() * is_open) > NEAR_ZERO * min(max(largest, 1.0), LARGE_SCORE)).any())
    mask = None if bool(is_open.all()) else is_open
    return mask, added.masked_fill(~is_open, 0.0) if has_bias else None

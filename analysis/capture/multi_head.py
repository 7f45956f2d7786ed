"""torch's own multi-head attention as a traced call: one function does it all, and is read from its arguments."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.capture.traced import TracedCall


def of_multi_head(func: Any, args: tuple, kwargs: dict) -> TracedCall:
    """What torch's own multi-head attention did with its arguments; run once more for its weights and head outputs.

    The output of the heads is not shown, only what the projection makes of it; here it is weights times values.
    """
    given = inspect.signature(func).bind(*args, **kwargs)
    given.apply_defaults()
    of = given.arguments
    again = {**of, "need_weights": True, "average_attn_weights": False}
    _, weights = func(**again)
    query, key, value = of["query"], of["key"], of["value"]
    if query.ndim == 2:
        query, key, value, weights = query[:, None], key[:, None], value[:, None], weights[None]
    if of["use_separate_proj_weight"]:
        projections = (of["q_proj_weight"], of["k_proj_weight"], of["v_proj_weight"])
    else:
        projections = of["in_proj_weight"].chunk(3)
    biases = (None, None, None) if of["in_proj_bias"] is None else of["in_proj_bias"].chunk(3)
    q, k, v = (F.linear(*each) for each in zip((query, key, value), projections, biases, strict=True))
    if of["bias_k"] is not None:
        k, v = (torch.cat([x, b.expand(1, x.shape[1], -1)]) for x, b in ((k, of["bias_k"]), (v, of["bias_v"])))
    n_heads, batch = of["num_heads"], query.shape[1]
    q, k, v = (x.reshape(len(x), batch, n_heads, -1).permute(1, 2, 0, 3) for x in (q, k, v))
    if of["add_zero_attn"]:
        k, v = (F.pad(x, (0, 0, 0, 1)) for x in (k, v))
    scale = q.shape[-1] ** -0.5
    product = torch.matmul(q, k.transpose(-1, -2))
    return TracedCall(
        q=q,
        k=k,
        v=v,
        output=torch.matmul(weights, v),
        scale=scale,
        product=product,
        scores=_with_masks(product * scale, of["attn_mask"], of["key_padding_mask"]),
        weights=weights,
        is_cross=of["query"] is not of["key"],
    )


def _with_masks(scores: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor:
    """Scores [batch, head, query, key] with the masks of `multi_head_attention_forward`: True or -inf blocks."""
    if mask is not None:
        mask = mask.reshape(scores.shape) if mask.ndim == 3 else mask
        scores = scores.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else scores + _wide(mask, scores)
    if padding is not None:
        padding = padding[:, None, None, :]
        scores = (
            scores.masked_fill(_wide(padding, scores), -torch.inf)
            if padding.dtype == torch.bool
            else scores + _wide(padding, scores)
        )
    return scores


def _wide(mask: Tensor, scores: Tensor) -> Tensor:
    """A mask with columns for what the kernel itself appends to the keys."""
    return F.pad(mask, (0, scores.shape[-1] - mask.shape[-1]))

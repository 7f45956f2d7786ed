"""Attention from the recorded arguments of one call, in torch and fp32: exact, and only when somebody asks.

The numpy twin for stored queries and keys is `analysis.attention`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BLOCKED = -9e3
"""An additive mask at or below this blocks the key: models write -1e4, -1e9, the dtype's least number or -inf."""


def attention(
    q: Float[Tensor, "batch head query d_head"],
    k: Float[Tensor, "batch kv_head key d_head"],
    *,
    scale: float | Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    sink_logits: Float[Tensor, " head"] | None = None,
) -> Float[Tensor, "batch head query key"]:
    """Softmax attention as the model computed it, whatever kernel it used.

    Args:
        q: After rotary embedding.
        k: After rotary embedding; fewer heads when queries share keys.
        scale: Factor on q·k.
        mask: Boolean (True where the query may attend) or additive, broadcastable to the result; two dimensions
            (batch, key) mean padding.
        is_causal: Also hide later keys.
        position_bias: Added to the scores, broadcastable to the result.
        softcap: ``c`` of ``c * tanh(score / c)``, before bias and mask.
        sink_logits: A learned logit per head, or [batch, head, query, 1] where it depends on the query, that joins
            the softmax and is then dropped.

    Returns:
        Weights in 0..1, fp32; rows sum to 1, to less with sinks, to 0 where a boolean mask leaves no key.
    """
    mask = None if mask is None else _as_four_axes(mask)
    scores = masked_scores(
        q, k, scale=scale, mask=mask, is_causal=is_causal, position_bias=position_bias, softcap=softcap
    )
    if sink_logits is not None:
        sink = sink_logits if sink_logits.ndim == 4 else sink_logits.reshape(1, -1, 1, 1)
        sink = sink.float().expand(scores.shape[0], -1, scores.shape[2], 1)
        return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1]
    weights = torch.softmax(scores, dim=-1)
    if mask is not None and mask.dtype == torch.bool:
        sees_nothing = ~mask.any(dim=-1, keepdim=True)
        if bool(sees_nothing.any()):
            weights = weights.masked_fill(sees_nothing, 0.0)
    return weights


def masked_scores(
    q: Float[Tensor, "batch head query d_head"],
    k: Float[Tensor, "batch kv_head key d_head"],
    *,
    scale: float | Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
) -> Float[Tensor, "batch head query key"]:
    """The scores before the softmax, -inf (or the additive mask's own number) where the query may not attend."""
    batch, n_heads, n_queries, d_head = q.shape
    n_kv_heads, n_keys = k.shape[1], k.shape[2]
    shared = (q.float() * scale).reshape(batch, n_kv_heads, n_heads // n_kv_heads * n_queries, d_head)
    scores = torch.matmul(shared, k.float().transpose(-1, -2)).reshape(batch, n_heads, n_queries, n_keys)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if position_bias is not None:
        scores += position_bias.float()
    if mask is not None:
        mask = _as_four_axes(mask)
        if mask.dtype == torch.bool:
            scores.masked_fill_(~mask, -torch.inf)
        else:
            scores += mask.float()
    if is_causal:
        scores.masked_fill_(~causal(n_queries, n_keys, q.device), -torch.inf)
    return scores


def attention_of_head(
    rows: Tensor,
    head: int,
    q: Float[Tensor, "batch head query d_head"],
    k: Float[Tensor, "batch kv_head key d_head"],
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    sink_logits: Float[Tensor, " head"] | None = None,
    **extras: Any,
) -> Float[Tensor, "row query key"]:
    """`attention` of one head on some inputs of the batch; nothing is computed for the others.

    Args:
        rows: Numbers of the inputs.
        head: Query head.
        extras: As `attention` takes them; what broadcasts to [batch, head, query, key] is cut to rows and head.
    """
    found = attention(
        q[rows][:, [head]],
        k[rows][:, [head // (q.shape[1] // k.shape[1])]],
        mask=None if mask is None else _of_head(_as_four_axes(mask), rows, head),
        is_causal=is_causal,
        sink_logits=_sink_of_head(sink_logits, rows, head),
        **{name: _of_head(value, rows, head) for name, value in extras.items()},
    )
    return found[:, 0]


def causal(n_queries: int, n_keys: int, device: torch.device | str) -> Bool[Tensor, "query key"]:
    """True where the key is not later than the query."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril()


def allowed_keys(
    mask: Tensor | None, is_causal: bool, n_queries: int, n_keys: int, device: torch.device | str
) -> tuple[Bool[Tensor, "#batch #head query key"], bool]:
    """Who may attend to whom, and whether the mask also weighs what it allows.

    Returns:
        True where the query may attend to the key; and True when an additive mask holds other numbers than 0 there,
        that is, it carries a bias.
    """
    allowed = causal(n_queries, n_keys, device) if is_causal else torch.ones(n_queries, n_keys, dtype=torch.bool)
    allowed = allowed.to(device)[None, None]
    if mask is None:
        return allowed, False
    mask = _as_four_axes(mask)
    if mask.dtype == torch.bool:
        return allowed & mask, False
    open_cells = mask > BLOCKED
    return allowed & open_cells, bool((mask * open_cells).nan_to_num(neginf=0).any())


def _sink_of_head(sink_logits: Tensor | None, rows: Tensor, head: int) -> Tensor | None:
    if sink_logits is None or sink_logits.ndim == 4:
        return _of_head(sink_logits, rows, head)
    return sink_logits[[head]]


def _of_head(tensor: Any, rows: Tensor, head: int) -> Any:
    if not isinstance(tensor, Tensor) or tensor.numel() == 1:
        return tensor
    tensor = tensor[(None,) * (4 - tensor.ndim)]
    tensor = tensor[rows] if tensor.shape[0] > 1 else tensor
    return tensor[:, [head]] if tensor.shape[1] > 1 else tensor


def _as_four_axes(mask: Tensor) -> Tensor:
    """A mask as [batch, head, query, key]; two axes (batch, key) are padding and become boolean."""
    if mask.ndim == 2:
        return mask.bool()[:, None, None, :]
    return mask[:, None] if mask.ndim == 3 else mask

"""Is the attention of an input still exact when its queries and keys are rounded to fp16 for storage?

The dry run answers for every site. Sites that came near the tolerance there are looked at again on every input, on
the queries that rounding moves most, so that the answer costs a few rows instead of a second attention; also where
nobody asked for the attention.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analysis.capture.attention import attention
from analysis.capture.interface import Call

STORED_TOLERANCE = 2e-3
"""Largest difference of attention recomputed from fp16 queries and keys before it is stored instead."""

CLOSE = STORED_TOLERANCE / 4
"""Sites whose dry run stayed below this are trusted on other inputs."""

LARGEST_FACTOR = 0.45
"""How far rounding moves a weight, at most, as a share of `_reach`: 0.44 was the most on a real encoder (MiniLM) and on
the bundled language model, every query of texts of 3 to 500 tokens, 420 pairs of site and input."""


def survives_rounding(
    call: Call,
    allowed: Bool[Tensor, "#batch #head query key"],
    offset: Float[Tensor, "kv_head d_head"],
    n_queries: list[int] | None,
    n_keys: list[int] | None = None,
) -> list[bool]:
    """Per input of a batch, whether fp16 queries and keys give its attention back within the tolerance.

    Only queries are looked at that are long enough to fail, one head at a time.

    Args:
        call: One site on the whole batch.
        allowed: Who may attend to whom.
        offset: What is subtracted from the keys before they are rounded.
        n_queries: Tokens of each input that are queries; None when all are whole.
        n_keys: Those that are keys, where they are others.
    """
    n_heads, device = call.q.shape[1], call.q.device
    is_token = _are_tokens(call.q, n_queries)
    centred = call.k.float() - offset[:, None]
    reach = _reach(call, centred, is_token, _are_tokens(call.k, n_keys or n_queries))
    n_at_risk = (reach * LARGEST_FACTOR > STORED_TOLERANCE).sum(dim=-1).amax(dim=0).tolist()
    drift = torch.zeros(len(reach), device=device)
    for head in range(n_heads):
        if n_at_risk[head]:
            rows = reach[:, head].topk(n_at_risk[head], dim=-1).indices
            of_rows = _drift(call, centred, allowed, head, rows)
            drift = torch.maximum(drift, of_rows.masked_fill_(~is_token.gather(1, rows), 0).amax(dim=-1))
    return [value <= STORED_TOLERANCE for value in drift.tolist()]


def _are_tokens(vectors: Tensor, lengths: list[int] | None) -> Bool[Tensor, "batch token"]:
    """False for padding."""
    batch, _, n_tokens, _ = vectors.shape
    ends = torch.tensor(lengths or [n_tokens] * batch, device=vectors.device)
    return torch.arange(n_tokens, device=vectors.device) < ends[:, None]


def _reach(
    call: Call,
    centred: Float[Tensor, "batch kv_head key d_head"],
    is_query: Bool[Tensor, "batch query"],
    is_key: Bool[Tensor, "batch key"],
) -> Float[Tensor, "batch head query"]:
    """How far rounding could move the scores of a query: fp16 keeps 11 bits, and errors of terms add up as squares.

    That is 2^-11 scale sqrt(sum of q_d² k_d²), with the largest k_d² of any key; 0 for padding.
    """
    batch, n_heads, n_tokens, d_head = call.q.shape
    longest = (centred * is_key[:, None, :, None]).abs_().amax(dim=2)
    terms = call.q.float().reshape(batch, call.k.shape[1], -1, d_head) * longest[:, :, None, :]
    reach = torch.linalg.vector_norm(terms, dim=-1).reshape(batch, n_heads, n_tokens) * (abs(call.scale) * 2**-11)
    return reach.nan_to_num_(nan=torch.inf).masked_fill_(~is_query[:, None], 0)


def _drift(
    call: Call,
    centred: Float[Tensor, "batch kv_head key d_head"],
    allowed: Bool[Tensor, "#batch #head query key"],
    head: int,
    rows: Int[Tensor, "batch row"],
) -> Float[Tensor, "batch row"]:
    """Largest difference that rounding makes to the weights of some queries of one head."""
    kv_head = head // (call.q.shape[1] // call.k.shape[1])
    queries = call.q[:, head].gather(1, rows[..., None].expand(-1, -1, call.q.shape[-1]))[:, None]
    mask = allowed[:, head if allowed.shape[1] > 1 else 0].expand(len(rows), -1, -1)
    mask = mask.gather(1, rows[..., None].expand(-1, -1, mask.shape[-1]))[:, None]
    sinks = None if call.sink_logits is None else call.sink_logits.reshape(-1)[head : head + 1]
    settings = {"scale": call.scale, "mask": mask, "softcap": call.softcap, "sink_logits": sinks}
    exact = attention(queries, call.k[:, kv_head, None], **settings)
    again = attention(queries.half(), centred[:, kv_head, None].half(), **settings)
    return again.sub_(exact).abs_().amax(dim=-1)[:, 0].nan_to_num_(nan=torch.inf)

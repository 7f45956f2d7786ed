"""Is the attention of an input still exact when its queries and keys are rounded to fp16 for storage?

The dry run answers for every site. Sites that came near the tolerance there are looked at again on every input, on
the queries that rounding moves most, so that the answer costs a few rows instead of a second attention.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analysis.capture.attention import attention
from analysis.capture.interface import Call

STORED_TOLERANCE = 2e-3
"""Largest difference of attention recomputed from fp16 queries and keys before it is stored instead."""

CLOSE = STORED_TOLERANCE / 4
"""Sites whose dry run stayed below this are trusted on other inputs."""

N_ROWS = 16
SEEN_SHARE = 0.6
"""What the sampled rows show of the largest difference, at least: 0.64 was the least on a real encoder (MiniLM) and
on the bundled language model, texts of 10 to 250 tokens, 300 pairs of site and input."""


def survives_rounding(
    call: Call,
    allowed: Bool[Tensor, "#batch #head query key"],
    offset: Float[np.ndarray, "kv_head d_head"],
    lengths: list[int] | None,
    weights: Float[Tensor, "batch head query key"],
) -> list[bool]:
    """Per input of a batch, whether fp16 queries and keys give its attention back within the tolerance.

    Args:
        call: One site on the whole batch.
        allowed: Who may attend to whom.
        offset: What is subtracted from the keys before they are rounded.
        lengths: Tokens of each input; None when all are whole.
        weights: The attention, exact.
    """
    batch, n_heads, n_tokens, d_head = call.q.shape
    is_token = torch.ones(batch, n_tokens, dtype=torch.bool, device=call.q.device)
    if lengths:
        is_token = torch.arange(n_tokens, device=call.q.device) < torch.tensor(lengths, device=call.q.device)[:, None]
    rows = _rows_at_risk(call, is_token, weights)
    queries = call.q.float().gather(2, rows[..., None].expand(-1, -1, -1, d_head))
    n_keys = call.k.shape[2]
    mask = allowed.expand(batch, n_heads, n_tokens, n_keys).gather(2, rows[..., None].expand(-1, -1, -1, n_keys))
    keys = call.k.float()
    shift = torch.from_numpy(offset).to(keys)[:, None]
    exact = weights.gather(2, rows[..., None].expand(-1, -1, -1, n_keys))
    again = attention(
        queries.half(),
        (keys - shift).half(),
        scale=call.scale,
        mask=mask,
        softcap=call.softcap,
        sink_logits=call.sink_logits,
    )
    drift = torch.nan_to_num((again - exact).abs_().amax(dim=-1), nan=torch.inf)
    drift = drift.masked_fill_(~is_token[:, None].expand(-1, n_heads, -1).gather(2, rows), 0).amax(dim=(1, 2))
    limit = STORED_TOLERANCE * (SEEN_SHARE if rows.shape[2] < n_tokens else 1)
    return [value <= limit for value in drift.tolist()]


def _rows_at_risk(
    call: Call, is_token: Bool[Tensor, "batch query"], weights: Float[Tensor, "batch head query key"]
) -> Int[Tensor, "batch head row"]:
    """The queries whose weights rounding moves most: long ones, whose heaviest key has a weight near one half.

    A score moves in proportion to the query's length, and a weight p by p (1 - p) times that.
    """
    heaviest = weights.amax(dim=-1)
    risk = torch.linalg.vector_norm(call.q, dim=-1, dtype=torch.float32) * heaviest * (1 - heaviest)
    risk = risk.masked_fill(~is_token[:, None], -1)
    return risk.topk(min(N_ROWS, risk.shape[-1]), dim=-1).indices

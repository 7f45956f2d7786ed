"""The verdict on a call over a long input, one head and some queries at a time: its attention is never held whole.

What is compared, on queries from all over the input, is the model's own output with attention times values, and
attention from rounded queries and keys with the exact one. A second pass with the model's eager attention, which would
hold the weights of all heads, is not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.attention import recompute
from analysis.capture.interface import Call

HELD_CELLS = 2**26
"""Weights of all heads of a call on one input that are held at once by the dry run: 256 MB, and some such in use."""

WINDOW_CELLS = 2**22
"""Weights that are held at once of a longer input."""

MOST_WINDOWS = 6
"""Windows of each head that are compared, evenly over the input, its first and its last queries among them."""


def is_long(call: Call) -> bool:
    """Whether the attention of a call is more than is held."""
    return call.q.shape[0] * call.q.shape[1] * call.q.shape[2] * call.k.shape[2] > HELD_CELLS


def can_be_windowed(call: Call) -> bool:
    """Whether some queries of a call are a call of their own: its output is there to compare with, and all that is
    added to its scores is a mask that weighs nothing."""
    return (
        call.alone is None
        and call.observed is None
        and call.output is not None
        and call.output.ndim == 4
        and call.position_bias is None
        and (call.sink_logits is None or call.sink_logits.ndim < 4)
        and not isinstance(call.scale, Tensor)
        and not call.allowed()[1]
    )


def windows(call: Call) -> Iterator[tuple[int, slice, Call]]:
    """One head and some queries of a call at a time, `MOST_WINDOWS` of each: head, queries, and the call they are."""
    allowed, _ = call.allowed()
    n_heads, n_queries, n_keys = call.q.shape[1], call.q.shape[2], call.k.shape[2]
    n_rows = max(1, WINDOW_CELLS // n_keys)
    for head in range(n_heads):
        kv_head, of_head = head // (n_heads // call.k.shape[1]), head if allowed.shape[1] > 1 else 0
        sinks = None if call.sink_logits is None else call.sink_logits.reshape(-1)[head : head + 1]
        begins = np.arange(0, n_queries, n_rows)
        for first in begins[np.unique(np.linspace(0, len(begins) - 1, MOST_WINDOWS).round().astype(int))].tolist():
            rows = slice(first, min(first + n_rows, n_queries))
            yield head, rows, replace(
                call, q=call.q[:, head : head + 1, rows], k=call.k[:, kv_head : kv_head + 1],
                v=call.v[:, kv_head : kv_head + 1], mask=allowed[:, of_head : of_head + 1, rows], is_causal=False,
                window=None, sink_logits=sinks, output=call.output[:, rows, head : head + 1],
            )  # fmt: skip


def compare_long(call: Call, offset: np.ndarray | None) -> dict[str, Any]:
    """The differences of a long call that `analysis.capture.certificate.judge_call` gives of a short one.

    Args:
        offset: What is subtracted from its keys before they are rounded, [kv_head, d_head].
    """
    largest_output = max(float(call.output.float().abs().max()), 1e-6)
    values, again, score = 0.0, 0.0, 0.0
    for head, rows, part in windows(call):
        weights = part.attention()
        ours = torch.matmul(weights, part.v.float()).transpose(1, 2)
        values = max(values, float((ours - part.output.float()).abs().nan_to_num(nan=1.0).max()) / largest_output)
        scores = part.scores().abs().masked_fill(~part.mask, 0.0)
        score = max(score, float(scores.max()))
        if offset is not None and call.site.band is not None:
            kept = weights[0].cpu().numpy()
            again = max(again, float(np.abs(_from_halves(call, head, rows, part, offset) - kept).max(initial=0)))
    comparable = offset is not None and call.site.band is not None
    return {
        "values_max_abs_diff": values,
        "recomputed_max_abs_diff": float(np.nan_to_num(again, nan=1.0)) if comparable else None,
        "rounding": float(torch.finfo(call.q.dtype).eps * (score + 1) / 2),
    }


def _from_halves(call: Call, head: int, rows: slice, part: Call, offset: np.ndarray) -> np.ndarray:
    """Attention of the window from what the store would hold."""
    site, kv_head = call.site, head // (call.q.shape[1] // call.k.shape[1])
    sinks = None if part.sink_logits is None else part.sink_logits.detach().float().cpu().numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        queries = part.q[0].float().cpu().numpy().astype(np.float16)
        keys = (part.k[0].float().cpu().numpy() - offset[kv_head][None, None, :]).astype(np.float16)
        allowed = site.band.rows(rows.start, rows.stop, call.k.shape[2])
        return np.nan_to_num(recompute(queries, keys, allowed, site.scale, site.softcap, sinks), nan=1.0)

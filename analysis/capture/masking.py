"""The mask that keeps queries from keys or weighs them otherwise: the model's own function does the rest.

A softmax over scores to which log(A'/A) was added gives A' wherever rows of A' and of A have the same sum; so an
additive mask can make any attention of any other, whatever kernel computes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analysis.capture import attention as formula
from analysis.capture.changes import Knockout, Redistribute
from analysis.capture.interface import softmax_extras
from analysis.errors import CaptureRefused, UnknownName


def edited_mask(
    changes: Sequence[Knockout | Redistribute], given: dict[str, Any], hides_later: bool, is_additive: bool
) -> Tensor:
    """The mask [batch, head, query, key] of a call with its changes made in order, in a kind its function takes.

    Args:
        changes: Of this site.
        given: The arguments of the call by name.
        hides_later: The kernel hides later keys by itself as long as it gets no mask.
        is_additive: The function takes additive masks only.
    """
    shape = (*given["query"].shape[:3], given["key"].shape[2])
    mask = given.get("attention_mask")
    if mask is None or mask.dtype == torch.bool:
        mask = formula.allowed_keys(mask, hides_later, shape[2], shape[3], given["query"].device)[0].expand(shape)
    else:
        mask = mask.expand(shape)
    for kind, group in groupby(changes, type):
        if kind is Knockout:
            mask = _block(mask, list(group))
        else:
            mask = _redistribute(_additive(mask, given["query"].dtype), given, list(group))
    return _additive(mask, given["query"].dtype) if is_additive else mask


def redistribution(
    weights: Float[Tensor, "row query key"],
    sinks: Bool[Tensor, "#query key"],
    receivers: Bool[Tensor, "#query key"],
    queries: Bool[Tensor, " query"],
    keep: float,
) -> Float[Tensor, "row query key"]:
    """log(A'/A) of `Redistribute`: what is added to the scores, -inf where a key is to get nothing.

    Args:
        weights: A, the attention as it is.
        sinks: True at the keys that lose.
        receivers: True at the keys that gain; none of them a sink.
        queries: Where anything is changed.
        keep: Share of their weights that the sinks keep.
    """
    freed = (1 - keep) * (weights * sinks).sum(dim=-1, keepdim=True)
    receiving = (weights * receivers).sum(dim=-1, keepdim=True)
    gain = torch.log1p(freed / receiving)
    kept = math.log(keep) if keep else -math.inf
    bias = torch.zeros_like(weights)
    bias = torch.where(receivers, gain, bias).masked_fill(sinks.expand_as(weights), kept)
    return bias.masked_fill(~((receiving > 0) & queries[:, None]), 0.0)


def check_head(site: str, head: int, n_heads: int) -> None:
    """Raise `UnknownName` for a head that the site lacks."""
    if not 0 <= head < n_heads:
        raise UnknownName(f"{site} has the heads 0 to {n_heads - 1}; there is no head {head}.")


def rows_of(rows: Sequence[int] | None, n_rows: int, device: torch.device) -> Tensor:
    """The inputs of a batch that a change is for."""
    return torch.arange(n_rows, device=device) if rows is None else torch.as_tensor(list(rows), device=device)


def _redistribute(mask: Tensor, given: dict[str, Any], changes: list[Redistribute]) -> Tensor:
    mask = mask.clone(memory_format=torch.contiguous_format)
    q, k = given["query"], given["key"]
    extras = softmax_extras(given)
    for change in changes:
        check_head(change.site, change.head, q.shape[1])
        sinks = _as_cells(change.site, change.sinks, mask)
        others = ~sinks if change.receivers is None else _as_cells(change.site, change.receivers, mask) & ~sinks
        queries = torch.ones(mask.shape[2], dtype=torch.bool) if change.queries is None else change.queries
        rows, head = rows_of(change.rows, q.shape[0], q.device), change.head
        weights = formula.attention_of_head(rows, head, q, k, mask=mask, **extras)
        bias = redistribution(weights, sinks, others, queries.to(q.device), change.keep)
        mask[rows, head] = (mask[rows, head] + bias).clamp_min(torch.finfo(mask.dtype).min).to(mask.dtype)
    return mask


def _block(mask: Tensor, knockouts: list[Knockout]) -> Tensor:
    blocked = torch.zeros(mask.shape, dtype=torch.bool, device=mask.device)
    for change in knockouts:
        check_head(change.site, change.head or 0, mask.shape[1])
        _check_cells(change.site, change.blocked, mask)
        heads = torch.arange(mask.shape[1]) if change.head is None else torch.tensor([change.head])
        rows = rows_of(change.rows, mask.shape[0], mask.device)
        blocked[rows[:, None], heads.to(mask.device)[None, :]] |= change.blocked.to(mask.device)
    return mask & ~blocked if mask.dtype == torch.bool else mask.masked_fill(blocked, torch.finfo(mask.dtype).min)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def _as_cells(site: str, cells: Tensor, mask: Tensor) -> Bool[Tensor, "#query key"]:
    cells = cells[None] if cells.ndim == 1 else cells
    _check_cells(site, cells, mask)
    return cells.to(mask.device)


def _check_cells(site: str, cells: Tensor, mask: Tensor) -> None:
    n_queries, n_keys = mask.shape[2:]
    if cells.shape[0] not in (1, n_queries) or cells.shape[1] != n_keys:
        raise CaptureRefused(
            f"{site} attends over {n_queries} x {n_keys} tokens; the keys to change came for "
            f"{' x '.join(map(str, cells.shape))}."
        )

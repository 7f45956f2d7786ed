"""Attention that a vision tower computes window by window: the calls of a module for one picture, as one call.

Some towers are given a picture as a list of patches and cut it into windows, which attend by themselves in calls of
their own. Their tokens behind each other are those of the picture, and nothing lies between tokens of two windows.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from analysis.capture.interface import Call


def n_patches(inputs: dict[str, Tensor]) -> int | None:
    """Patches of the one picture of an input whose pixels are a list of patches, ``[1, patch, value]``; else None."""
    pixels = inputs.get("pixel_values")
    return pixels.shape[1] if pixels is not None and pixels.ndim == 3 else None


def joined_calls(calls: list[Call], n_tokens: int | None) -> list[Call]:
    """The calls of a pass in order; those of one module for parts of the tokens are joined in the place of the first.

    Args:
        calls: Of one forward pass over one input.
        n_tokens: Of the whole; None joins nothing.
    """
    if n_tokens is None:
        return calls
    by_module: dict[str, list[Call]] = {}
    for call in calls:
        by_module.setdefault(call.module_name, []).append(call)
    joined = []
    for call in calls:
        parts = by_module[call.module_name]
        if not _are_parts(parts, n_tokens):
            joined.append(call)
        elif call is parts[0]:
            joined.append(_joined(parts))
    return joined


def _are_parts(calls: list[Call], n_tokens: int) -> bool:
    return (
        len(calls) > 1
        and sum(call.q.shape[2] for call in calls) == n_tokens
        and all(call.q.shape[0] == 1 and call.q.shape[2] == call.k.shape[2] for call in calls)
        and all(call.mask is None and not call.is_causal and call.observed is None for call in calls)
        and all(call.position_bias is None and call.sink_logits is None and call.window is None for call in calls)
    )


def _joined(calls: list[Call]) -> Call:
    q, k, v = (torch.cat([getattr(call, name) for call in calls], dim=2) for name in ("q", "k", "v"))
    sizes = [call.q.shape[2] for call in calls]
    mask = torch.block_diag(*[torch.ones(n, n, dtype=torch.bool, device=q.device) for n in sizes])[None, None]
    outputs = [call.output for call in calls]
    weights = [call.own_weights for call in calls]
    return replace(
        calls[0], q=q, k=k, v=v, mask=mask.bool(),
        output=None if any(output is None for output in outputs) else torch.cat(outputs, dim=1),
        own_weights=None if any(each is None for each in weights) else _along_diagonal(weights),
    )  # fmt: skip


def _along_diagonal(weights: list[Tensor]) -> Tensor:
    """``[1, head, query, key]`` squares of the parts as one."""
    heads = range(weights[0].shape[1])
    return torch.stack([torch.block_diag(*[part[0, head] for part in weights]) for head in heads])[None]

"""One model type tried out: by which route its attention is reached, and how exactly."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from analysis.capture import Capture
from analysis.capture.alone import judge_alone
from analysis.capture.certificate import eager, judge_call, largest_difference, own_eager
from analysis.capture.interface import Call
from analysis.capture.optrace import Unfused
from analysis.coverage.report import (
    BOTH,
    IMPLICIT,
    INTERFACE,
    MOST_ATTENTION,
    NO_ATTENTION,
    NOT_TESTED,
    ONLY_ATTENTION,
    OPTRACE,
    REFUSED,
    TypeReport,
)
from analysis.models import forward_module, modalities

WITHOUT_SOFTMAX = {
    r"Mamba|SSM|StateSpace": "state-space layers have no softmax attention",
    r"RWKV|Rwkv": "recurrent RWKV layers have no softmax attention",
    r"DeltaNet|LinearAttention|LightningAttention|Retention|KimiDelta|GatedDelta": "linear attention has no softmax",
    r"RecurrentBlock|RgLru|xLSTM|mLSTM": "recurrent layers have no softmax attention",
    r"AutoCorrelation": "autocorrelation takes the place of attention",
    r"Fourier": "Fourier mixing takes the place of attention",
    r"DeformableAttention": "deformable attention reads a few sampled points, not tokens",
    r"LSH|Nystrom|Mra": "approximate attention never forms a row of weights over the keys",
}


def judge_model(model_type: str, model: torch.nn.Module, inputs: dict[str, Tensor]) -> TypeReport:
    """Capture one pass of a model and compare it with what the model itself gives.

    Raises:
        Exception: Whatever the model raises in its plain forward pass.
    """
    with Unfused():
        plain = _forward(model, inputs)
    with Capture(model, keep_outputs=True) as capture:
        captured = _forward(model, inputs)
    calls = capture.calls
    torch.manual_seed(0)
    own_calls, _ = own_eager(model, inputs)
    verdicts = [(call, judge_call(call, own_calls.get(call.key), MOST_ATTENTION)) for call in calls]
    holding = [call for call, verdict in verdicts if not verdict["reason"]]
    reasons = [f"{call.key}: {verdict['reason']}" for call, verdict in verdicts if verdict["reason"]]
    own, differences, missing = _compare(model, inputs)
    differences += [_difference(verdict) for _, verdict in verdicts if not verdict["reason"]]
    scans = _scans(model, inputs)
    route, note = _route(model, holding, own, scans)
    if route == IMPLICIT:
        holding, differences = scans[0], [scans[1]]
    return TypeReport(
        model_type=model_type,
        modality="+".join(modalities(model)),
        route=route,
        n_sites=len(holding),
        n_left_out=len(reasons),
        attention_max_abs_diff=max(differences, default=None) if holding else None,
        outputs_max_abs_diff=largest_difference(plain, captured),
        n_own=len(own),
        n_own_missing=missing,
        inputs="+".join(name for name in inputs if "mask" not in name),
        note="; ".join([*([note] if note else []), *reasons[:2]])[:300],
    )


def _difference(verdict: dict[str, Any]) -> float:
    """Of the weights from the model's own; where it shows none, of weights times values from its own output."""
    attention = verdict["attention_max_abs_diff"]
    return verdict["values_max_abs_diff"] if attention is None else attention


def _forward(model: torch.nn.Module, inputs: dict[str, Tensor], **options: Any) -> Any:
    """A pass with the same random numbers each time: some models drop or mask tokens at random also in eval mode."""
    torch.manual_seed(0)
    return forward_module(model, inputs, **options)


def _scans(model: torch.nn.Module, inputs: dict[str, Tensor]) -> tuple[list[Call], float]:
    """Scans of state-space layers whose implicit attention times their inputs is what they give, and by how much not,
    as a share of the output's size; none where one does not hold."""
    with Capture(model, trace=False, implicit=True, keep_outputs=True) as capture:
        _forward(model, inputs)
    found = [call for call in capture.recorded if call.alone is not None]
    verdicts = [judge_alone(call, None) for call in found]
    if any(verdict["reason"] or verdict["values_max_abs_diff"] is None for verdict in verdicts):
        return [], 0.0
    return found, max((verdict["values_max_abs_diff"] for verdict in verdicts), default=0.0)


def _route(
    model: torch.nn.Module, holding: list[Call], own: list[Tensor], scans: tuple[list[Call], float]
) -> tuple[str, str]:
    routes = {call.route for call in holding}
    others = _without_softmax(model)
    if scans[0]:
        layers = f"{len(scans[0])} state-space layer{'s' if len(scans[0]) > 1 else ''}"
        found = f"{layers} by implicit attention, within {scans[1]:.0e} of the scan's output"
        others = "; ".join([found, *(each for each in others.split("; ") if each and "state-space" not in each)])
        if not routes and not own:
            return IMPLICIT, others
        return (BOTH if len(routes) == 2 else INTERFACE if "interface" in routes else OPTRACE), f"beside it {others}"
    if routes:
        route = BOTH if len(routes) == 2 else INTERFACE if "interface" in routes else OPTRACE
        return route, f"also has layers without it: {others}" if others else ""
    if own:
        return ONLY_ATTENTION, "its attention is returned, but no queries and keys that give it"
    if unused := _unused_attention(model):
        return NOT_TESTED, f"the tiny model has none of its layers with attention ({unused})"
    if others:
        return REFUSED, others
    if any("attention" in type(part).__name__.lower() for part in model.modules()):
        return REFUSED, "its attention is no softmax of queries times keys that could be followed"
    return NO_ATTENTION, ""


def _unused_attention(model: torch.nn.Module) -> str:
    """An attention class that the type's own code holds and this model makes no use of; empty where there is none."""
    source = type(model).__module__
    own = {
        name
        for name, kind in vars(sys.modules[source]).items()
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module) and kind.__module__ == source
    }
    used = {type(part).__name__ for part in model.modules()}
    found = sorted(name for name in own - used if re.search(r"Attention$", name))
    return "" if any("Attention" in name for name in used) or not found else found[0]


def _without_softmax(model: torch.nn.Module) -> str:
    kinds = {type(part).__name__ for part in model.modules()}
    found = [reason for words, reason in WITHOUT_SOFTMAX.items() if any(re.search(words, kind) for kind in kinds)]
    return "; ".join(found)


def _compare(model: torch.nn.Module, inputs: dict[str, Tensor]) -> tuple[list[Tensor], list[float], int]:
    """What the model returns for ``output_attentions``, how far captured calls are from it, and how many lack one."""
    try:
        with eager(model), Capture(model) as capture:
            output = _forward(model, inputs, output_attentions=True)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, NotImplementedError, IndexError):
        return [], [], 0
    own = list(_attentions(output))
    found = [call.attention() for call in capture.recorded]
    nearest = [min((_distance(weights, each) for each in found), default=1.0) for weights in own]
    hits = [distance for distance in nearest if distance <= MOST_ATTENTION]
    return own, hits, len(nearest) - len(hits)


def _attentions(output: Any, inside: bool = False) -> Iterator[Tensor]:
    """Rows of weights in a model's output, in fields named so; some types return scores or states under that name."""
    if isinstance(output, Tensor):
        if inside and output.ndim >= 3 and output.is_floating_point() and _is_weights(output):
            yield output
    elif isinstance(output, dict) or hasattr(output, "items"):
        for name, part in output.items():
            yield from _attentions(part, inside or "attentions" in str(name))
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _attentions(part, inside)


def _is_weights(tensor: Tensor) -> bool:
    return bool((tensor >= 0).all() and (tensor.float().sum(-1) <= 1 + 1e-4).all())


def _distance(own: Tensor, ours: Tensor) -> float:
    """Largest difference of two arrays of weights [..., query, key], whichever way the other axes are arranged.

    The model's own may be the first or last rows and columns of the whole. 1 where the two do not fit.
    """
    n_queries, n_keys = own.shape[-2:]
    if n_queries > ours.shape[-2] or n_keys > ours.shape[-1] or own.shape[:-2].numel() != ours.shape[:-2].numel():
        return 1.0
    lead = own.squeeze() if own.ndim > 5 else own
    count = lead.ndim - 2
    arranged = [
        lead.permute(*order, count, count + 1).reshape(*ours.shape[:-2], n_queries, n_keys).float()
        for order in itertools.permutations(range(count))
    ]
    rows = (slice(0, n_queries), slice(ours.shape[-2] - n_queries, None))
    columns = (slice(0, n_keys), slice(ours.shape[-1] - n_keys, None))
    parts = [ours[..., row, column] for row in rows for column in columns]
    shared = [part / part.sum(-1, keepdim=True).clamp(min=1e-9) for part in parts if _is_short(ours)]
    means = [part.mean(1, keepdim=True).expand_as(part) for part in parts]  # of the heads, as torch's own returns
    return min(_largest(each, part) for each in arranged for part in (*parts, *shared, *means))


def _is_short(ours: Tensor) -> bool:
    """A learned sink takes part of every row; some models return each key's share of the rest."""
    return bool((ours.sum(-1) < 1 - 1e-3).any())


def _largest(own: Tensor, ours: Tensor) -> float:
    """Largest difference in rows that see a key: what stands in the others is up to the model."""
    return float(((own - ours) * (ours.sum(-1, keepdim=True) > 0)).abs().max())

"""Attention without queries and keys: what a model returns of itself, and the implicit attention of its scans."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.capture.implicit import MOST_TOKENS, Scan
from analysis.types import IMPLICIT, RETURNED

if TYPE_CHECKING:
    from analysis.capture.interface import Call
    from analysis.models import LoadedModel

SCAN_TOLERANCE = 1e-4
"""Largest difference of implicit attention times the scan's inputs from its own output, as a share of its size."""

ROW_TOLERANCE = 1e-3
"""How far a row of returned attention may be from summing to 1."""


_NO_MATRIX = "what it returns for output_attentions is no matrix of tokens by tokens"


class Alone(Protocol):
    """Attention that is there without queries and keys."""

    def attention(self) -> Float[Tensor, "batch head query key"]: ...


class Returned:
    """Attention as the model returned it, kept as it is."""

    def __init__(self, weights: Float[Tensor, "batch head query key"]) -> None:
        self._weights = weights

    def attention(self) -> Float[Tensor, "batch head query key"]:
        return self._weights.float()


def call_of_scan(scan: Scan) -> dict[str, Any]:
    """The fields of a `Call` for a scan: no key is later than its query, and queries and keys have no width."""
    return _fields(scan, scan.u.new_zeros(scan.u.shape[0], scan.n_shown, scan.n_tokens, 0), IMPLICIT, True, None)


def call_of_returned(weights: Float[Tensor, "batch head query key"]) -> dict[str, Any]:
    """The fields of a `Call` for attention that was returned; a key on which no head puts weight counts as hidden."""
    empty = weights.new_zeros(*weights.shape[:3], 0)
    return _fields(Returned(weights), empty, RETURNED, False, (weights > 0).any(dim=1, keepdim=True))


def _fields(alone: Alone, empty: Tensor, route: str, is_causal: bool, mask: Tensor | None) -> dict[str, Any]:
    return {
        "q": empty, "k": empty, "v": empty, "scale": 1.0, "mask": mask, "is_causal": is_causal, "is_cross": False,
        "implementation": "scan" if route == IMPLICIT else "eager", "route": route, "alone": alone,
    }  # fmt: skip


def judge_alone(call: Call, again: Tensor | None) -> dict[str, Any]:
    """What `judge_call` says of a call without queries and keys: differences, and why it does not hold, if so.

    Args:
        again: The same returned attention in another pass.
    """
    if isinstance(call.alone, Scan):
        return _judge_scan(call.alone)
    weights = call.attention()
    gap = float((weights - again.float()).abs().max()) if again is not None and again.shape == weights.shape else 1.0
    reason = f"the model returns other attention each time (by {gap:.1e})" if gap > 1e-5 else ""
    return {"attention_max_abs_diff": gap, "reason": reason}


def _judge_scan(scan: Scan) -> dict[str, Any]:
    if scan.n_tokens > MOST_TOKENS:
        return {
            "reason": f"implicit attention is computed for inputs of up to {MOST_TOKENS:,} tokens, and the longest "
            f"here has {scan.n_tokens:,}: give shorter texts"
        }
    _, gap = scan.attention_and_difference()
    found = {"values_max_abs_diff": gap, "matrices_per_head": scan.n_heads // scan.n_shown}
    if gap is not None and not gap <= SCAN_TOLERANCE:
        return {
            **found,
            "reason": f"implicit attention times inputs differs from the scan's own output by {gap:.1e} of its size",
        }
    return {**found, "reason": ""}


def find_returned(loaded: LoadedModel, inputs: dict[str, Tensor]) -> tuple[list[Call], str]:
    """`returned_calls` of the dry run, which looks closer: rows have to sum to 1, and matrices to follow the input's
    length, since a band as wide as this input is long would look like a whole matrix.

    Returns:
        The calls, unnamed; and why there are none.
    """
    calls, reason = returned_calls(loaded, inputs)
    for call in calls:
        weights = call.attention()
        if bool((weights < 0).any()) or float((weights.sum(-1) - 1).abs().max()) > ROW_TOLERANCE:
            return [], f"{_NO_MATRIX}: rows do not sum to 1"
    n_tokens = inputs["input_ids"].shape[-1] if "input_ids" in inputs else 0
    if calls and n_tokens > 1:
        shorter = {name: value[..., :-1] if value.shape[-1] == n_tokens else value for name, value in inputs.items()}
        _, reason = returned_calls(loaded, shorter)
    return ([], reason) if reason else (calls, "")


def returned_calls(loaded: LoadedModel, inputs: dict[str, Tensor]) -> tuple[list[Call], str]:
    """The attention that a model returns of itself, layer by layer, each under the module that gave it.

    Returns:
        The calls, unnamed; and why there are none: what is no matrix of tokens by tokens is not taken.
    """
    from analysis.capture.batch import forward
    from analysis.capture.certificate import eager
    from analysis.capture.interface import Call

    givers: dict[int, str] = {}
    hooks = [part.register_forward_hook(partial(_note_giver, givers, name)) for name, part in _parts(loaded.module)]
    try:
        with eager(loaded.module):
            found = getattr(forward(loaded, inputs, output_attentions=True), "attentions", None)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        return [], f"it does not take output_attentions ({type(error).__name__})"
    finally:
        for hook in hooks:
            hook.remove()
    if not found or all(layer is None for layer in found):
        return [], "it returns nothing for output_attentions"
    ordinals: Counter[str] = Counter()
    calls = []
    for weights in found:
        if reason := _no_matrix(weights, inputs):
            return [], f"{_NO_MATRIX}: {reason}"
        name = givers.get(id(weights), "")
        calls.append(Call(module_name=name, ordinal=ordinals[name], forward_pass=0, **call_of_returned(weights)))
        ordinals[name] += 1
    return calls, ""


def _parts(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    return [(name, part) for name, part in model.named_modules() if name]


def _note_giver(givers: dict[int, str], name: str, part: torch.nn.Module, args: tuple, output: Any) -> None:
    if isinstance(output, tuple):
        for each in output:
            if isinstance(each, Tensor) and each.ndim == 4:
                givers.setdefault(id(each), name)  # inner modules end first


def _no_matrix(weights: Any, inputs: dict[str, Tensor]) -> str:
    ids = inputs.get("input_ids")
    if not isinstance(weights, Tensor) or weights.ndim != 4:
        return f"a {type(weights).__name__}" if not isinstance(weights, Tensor) else f"{weights.ndim} axes"
    shape = "x".join(map(str, weights.shape))
    if weights.shape[-1] != weights.shape[-2] or (ids is not None and weights.shape[-1] != ids.shape[-1]):
        return f"layers of the shape {shape}" + ("" if ids is None else f" for {ids.shape[-1]} tokens")
    return ""

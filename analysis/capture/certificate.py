"""The parity certificate: on one input, is what was captured what the model does?

Four questions, each answered with its largest difference:

1. Are the model's outputs the same, bit by bit, with and without capture?
2. Is the attention computed from the recorded arguments the one the model's own eager function returns for them?
3. Do these weights times the recorded values give what the model's own kernel returned in the captured pass?
4. Do queries and keys rounded to fp16 for storage give the attention back within 2e-3? If not it is stored.

Where operations were traced, the weights are the model's own, and question 2 is asked of the queries and keys: is their
product the one that the model computed, and does the softmax of it, with what was added, give those weights?
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.attention import recompute
from analysis.capture.alone import judge_alone, returned_calls
from analysis.capture.folding import n_blocks
from analysis.capture.interface import Call, Capture
from analysis.capture.joining import joined_calls, n_patches
from analysis.capture.long_calls import can_be_windowed, compare_long, is_long
from analysis.capture.rounding import STORED_TOLERANCE
from analysis.capture.sites import placed
from analysis.capture.windows import Windows
from analysis.errors import UserError
from analysis.models import LoadedModel, forward_module
from analysis.types import RETURNED, Site

EXACT = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
"""Largest difference between our weights and the model's own for the same arguments, by the model's dtype; large scores
are rounded by more in half precision, see `_rounding`."""


def certify(
    loaded: LoadedModel,
    inputs: dict[str, Tensor],
    plain: Any,
    captured: Any,
    calls: dict[str, Call],
    offsets: dict[str, np.ndarray],
    n_tokens: dict[str, int],
    windows: dict[str, Windows],
) -> tuple[list[Site], dict[str, Any]]:
    """Judge every captured call.

    Args:
        plain: The model's output without capture.
        captured: Its output with capture.
        calls: The captured calls by site key, with their outputs.
        offsets: Per site key what is subtracted from keys before they are rounded.
        n_tokens: Tokens of the input, by sequence; with the name ``""`` where it is one.
        windows: How those calls lie on the picture that attend within windows of it.

    Returns:
        The sites that hold, `recomputable` and `band` settled; and the certificate as plain values.
    """
    own, eager_reason = {}, "not compared: of so long an input the model's own weights are too many to hold"
    if not any(is_long(call) for call in calls.values()):
        own, eager_reason = own_eager(loaded.module, inputs)
    again = _returned_again(loaded, inputs, calls)
    sites, verdicts, left_out = [], {}, _unreached(loaded.module, calls)
    blocks = n_blocks(inputs, 1)
    for key, call in calls.items():
        site = placed(call.site, loaded.sequences) if loaded.sequences and key not in windows else call.site
        wrong = _wrong_tokens(call, site, n_tokens, blocks, windows.get(key))
        verdict = judge_call(call, own.get(key), EXACT[loaded.dtype], offsets[key], wrong, again.get(key))
        verdicts[key] = verdict
        if verdict["reason"]:
            left_out[key] = verdict["reason"]
            continue
        site = replace(site, index=len(sites), recomputable=verdict["is_recomputable"])
        if call.q.shape[0] > 1 or key in windows:  # blocks along the diagonal
            site = replace(site, band=None, recomputable=False)
        sites.append(replace(site, query_sequence="", key_sequence="") if "" in n_tokens else site)
    kept = [verdicts[site.key] for site in sites]
    certificate = {
        "n_tokens": sum(n_tokens.values()),
        "implementation": next(iter(calls.values())).implementation,
        "routes": sorted({site.route for site in sites}),
        "outputs_max_abs_diff": largest_difference(plain, captured),
        "attention_max_abs_diff": _largest(verdict["attention_max_abs_diff"] for verdict in kept),
        "values_max_abs_diff": _largest(verdict["values_max_abs_diff"] for verdict in kept),
        "recomputed_max_abs_diff": _largest(verdict["recomputed_max_abs_diff"] for verdict in kept),
        "eager": eager_reason if eager_reason and any(call.observed is None for call in calls.values()) else "compared",
        "sites": verdicts,
        "left_out": left_out,
        "dtype": loaded.dtype,
        "rounding": _largest(verdict["rounding"] for verdict in kept),
    }
    return sites, certificate


def largest_difference(first: Any, second: Any) -> float:
    """Largest absolute difference between the tensors of two model outputs; inf when they do not match up."""
    pairs = list(zip(_tensors(first), _tensors(second)))
    if not pairs or any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    if all(torch.equal(one, other) for one, other in pairs):
        return 0.0
    differences = (torch.nan_to_num((one.float() - other.float()).abs(), nan=torch.inf).max() for one, other in pairs)
    return max(float(difference) for difference in differences)


def explain_no_calls(loaded: LoadedModel, reason: str) -> str:
    """Why a model is refused whose attention can neither be passed on nor followed, and what was tried.

    Args:
        reason: Why what it returns of itself is not taken; see `analysis.capture.alone.returned_calls`.
    """
    return (
        f"{loaded.name} ({type(loaded.module).__name__}) cannot be captured: no attention call went through "
        "transformers' attention interface, none was found among its operations, and "
        f"{reason}: use another model."
    )


@contextmanager
def eager(model: torch.nn.Module) -> Iterator[None]:
    """Run a model with its own eager attention for a while; the names of its implementations come back on exit."""
    configs = {id(config): config for part in model.modules() for config in _configs(getattr(part, "config", None))}
    before = {key: config._attn_implementation_internal for key, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation_internal = "eager"
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]


def own_eager(module: torch.nn.Module, inputs: dict[str, Tensor]) -> tuple[dict[str, Call], str]:
    """The calls of a pass with the model's own eager attention, which returns its weights; or why there are none."""
    try:
        with eager(module), Capture(module, keep_outputs=True, trace=False) as capture:
            forward_module(module, inputs)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, NotImplementedError) as error:
        return {}, f"the model does not run with eager attention ({type(error).__name__}: {error})"
    calls = joined_calls(capture.recorded, n_patches(inputs))
    own = {call.key: call for call in calls if call.own_weights is not None}
    return own, "" if own else "the model's eager attention returns no weights"


def _returned_again(loaded: LoadedModel, inputs: dict[str, Tensor], calls: dict[str, Call]) -> dict[str, Tensor]:
    if not any(call.route == RETURNED for call in calls.values()):
        return {}
    return {call.key: call.attention() for call in returned_calls(loaded, inputs)[0]}


def _unreached(model: torch.nn.Module, calls: dict[str, Call]) -> dict[str, str]:
    """Attention modules of torch that did not run on this input, or not in a way that could be followed."""
    reached = {call.module_name for call in calls.values()}
    return {
        name: "torch's nn.MultiheadAttention made no call that could be followed"
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.MultiheadAttention) and name not in reached
    }


def judge_call(
    call: Call,
    own: Call | None,
    exact: float,
    offset: np.ndarray | None = None,
    wrong_tokens: str = "",
    again: Tensor | None = None,
) -> dict[str, Any]:
    """The verdict on one captured call: its largest differences, and the reason why it does not hold, if any.

    Args:
        own: The same call in a pass with the model's own eager attention, with its weights.
        exact: Largest difference of the attention from the model's own.
        offset: What is subtracted from its keys before they are rounded, [kv_head, d_head].
        wrong_tokens: Why its tokens are not those of the input; then nothing is compared.
        again: The attention that the model returns for it in another pass, where that is how it was reached.
    """
    verdict: dict[str, Any] = {
        "label": call.site.label,
        "route": call.route,
        "attention_max_abs_diff": None,
        "between_implementations_max_abs_diff": None,
        "values_max_abs_diff": None,
        "recomputed_max_abs_diff": None,
        "is_recomputable": False,
        "rounding": 0.0,
        "reason": "",
    }
    if reason := wrong_tokens or _unfit(call):
        return {**verdict, "reason": reason}
    if call.alone is not None:
        return {**verdict, **judge_alone(call, again)}
    if is_long(call) and can_be_windowed(call):
        verdict |= compare_long(call, offset)
        return _settled(verdict, call, exact)
    try:
        weights = call.attention()
    except (UserError, RuntimeError) as error:
        return {**verdict, "reason": str(error)}
    verdict["values_max_abs_diff"] = _values_difference(call, weights)
    if call.observed is not None:
        verdict["product_max_abs_diff"] = _product_difference(call)
        verdict["attention_max_abs_diff"] = _difference(call.recomputed(), weights)
    verdict["rounding"] = _rounding(call)
    if own is not None and own.own_weights.shape == weights.shape:
        verdict["attention_max_abs_diff"] = _difference(_as_returned(own), own.own_weights)
        verdict["between_implementations_max_abs_diff"] = _difference(weights, own.own_weights)
    if offset is not None:
        verdict["recomputed_max_abs_diff"] = _recomputed_difference(call, weights, offset)
    return _settled(verdict, call, exact)


def _settled(verdict: dict[str, Any], call: Call, exact: float) -> dict[str, Any]:
    again = verdict["recomputed_max_abs_diff"]
    verdict["is_recomputable"] = call.site.recomputable and again is not None and again <= STORED_TOLERANCE
    verdict["reason"] = _failure(verdict, exact)
    return verdict


def _rounding(call: Call) -> float:
    """How far weights may move because the model's own function rounds its scores: much in half precision.

    A score of size s comes twice rounded out of an eager function, as a product and scaled, by at most s eps / 2 each
    time; moving all scores by d moves a weight p by at most p (1 - p) 2 d, so by d / 2. The weight is rounded too.
    """
    allowed, _ = call.allowed()
    largest = call.scores().abs().masked_fill(~allowed, 0.0).max()
    return float(torch.finfo(call.q.dtype).eps * (largest + 1) / 2)


def _failure(verdict: dict[str, Any], exact: float) -> str:
    own, values = verdict["attention_max_abs_diff"], verdict["values_max_abs_diff"]
    if (product := verdict.get("product_max_abs_diff")) is not None and not product <= 10 * exact:
        return f"its queries times keys differ from the product the model computed by {product:.1e} of its size"
    if own is None and values is None:
        return "nothing to compare with: the model returns neither weights nor the attention's output"
    if own is not None and not own <= (most := max(exact, verdict["rounding"])):
        return f"computed attention differs from the model's own by {own:.1e}, more than {most:.0e}"
    if values is not None and not values <= 10 * exact:
        return f"attention times values differs from the model's own output by {values:.1e} of its size"
    between = verdict["between_implementations_max_abs_diff"]
    if values is None and between is not None and not between <= 100 * exact:
        return f"attention differs by {between:.1e} from a pass with the model's eager attention"
    return ""


def _wrong_tokens(call: Call, site: Site, n_tokens: dict[str, int], blocks: int, windows: Windows | None = None) -> str:
    shape = (call.q.shape[0], call.q.shape[2], call.k.shape[2])
    if windows is not None:
        shape = (1, windows.n_tokens, windows.n_tokens)
    elif shape[0] == blocks and not call.is_cross:
        shape = (1, blocks * shape[1], blocks * shape[2])
    if call.is_cross and "" in n_tokens:
        return "cross-attention: its keys are another sequence's tokens"
    sequences = ("", "") if "" in n_tokens else (site.query_sequence, site.key_sequence)
    n_queries, n_keys = (n_tokens.get(name, 0) for name in sequences)
    if shape != (1, n_queries, n_keys):
        expected = f"{n_queries}" if n_queries == n_keys else f"{n_queries} x {n_keys}"
        return f"attends over {shape[1]} x {shape[2]} tokens of {shape[0]} sequences, not over the input's {expected}"
    return ""


def _unfit(call: Call) -> str:
    """Why nothing can be made of a call, if so."""
    if call.q.shape[1] % call.k.shape[1]:
        return f"{call.q.shape[1]} query heads do not share {call.k.shape[1]} key heads evenly"
    if np.isnan(call.site.scale):
        return (
            "its heads have different scales"
            if call.observed is None
            else "something else than a scale, a cap, a bias or a mask lies between queries times keys and the softmax"
        )
    if not bool(torch.isfinite(call.q).all() and torch.isfinite(call.k).all()):
        return "its queries or keys are not finite numbers"
    return ""


def _values_difference(call: Call, weights: Tensor) -> float | None:
    """Largest difference of weights times values from the model's own output, as a share of its largest entry."""
    if call.output is None or call.output.ndim != 4:
        return None
    values = call.v.float().repeat_interleave(weights.shape[1] // call.v.shape[1], dim=1)
    ours = torch.matmul(weights, values).transpose(1, 2)
    if ours.shape != call.output.shape:
        return None
    output = call.output.float()
    if call.observed is not None:  # a query that sees nothing: its row is zero here, and whatever there
        output = output * (weights.sum(-1) > 0).transpose(1, 2)[..., None]
    return _difference(ours, output) / max(float(output.abs().max()), 1e-6)


def _as_returned(own: Call) -> Tensor:
    """Our weights for a call as its eager function returns them: with learned sinks, some give each key's share of
    what goes to keys, and take the sink's mass off the output alone."""
    weights = own.attention()
    if own.sink_logits is not None and bool((own.own_weights.float().sum(-1) > 1 - 1e-4).all()):
        return weights / weights.sum(-1, keepdim=True)
    return weights


def _product_difference(call: Call) -> float:
    """Largest difference of our queries times keys from the model's product, as a share of its largest entry."""
    keys = call.k.float().repeat_interleave(call.q.shape[1] // call.k.shape[1], dim=1)
    ours, own = torch.matmul(call.q.float(), keys.transpose(-1, -2)), call.observed.product.float()
    return _difference(ours, own) / max(float(own.abs().max()), 1e-6)


def _recomputed_difference(call: Call, weights: Tensor, offset: np.ndarray) -> float | None:
    site = call.site
    if site.band is None or (call.sink_logits is not None and call.sink_logits.ndim == 4):
        return None
    sinks = None if call.sink_logits is None else call.sink_logits.detach().float().cpu().numpy().reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond fp16 end as a difference of 1
        queries = call.q[0].float().cpu().numpy().astype(np.float16)
        keys = (call.k[0].float().cpu().numpy() - offset[:, None, :]).astype(np.float16)
        allowed = site.band.allowed(queries.shape[1], keys.shape[1])
        again = recompute(queries, keys, allowed, site.scale, site.softcap, sinks)
    return float(np.nan_to_num(np.abs(again - weights[0].cpu().numpy()), nan=1.0).max())


def _difference(first: Tensor, second: Tensor) -> float:
    return float(torch.nan_to_num((first.float() - second.float()).abs(), nan=1.0, posinf=1.0).max())


def _largest(values: Iterator[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _configs(config: Any) -> list[Any]:
    if config is None or not hasattr(config, "_attn_implementation_internal"):
        return []
    parts = (getattr(config, name, None) for name in getattr(config, "sub_configs", {}))
    return [config, *(part for part in parts if hasattr(part, "_attn_implementation_internal"))]


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    return [tensor for part in output for tensor in _tensors(part)] if isinstance(output, (list, tuple)) else []

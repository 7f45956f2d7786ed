"""The capture plan: which sites a model has, found by a dry run, with the certificate that what is captured is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.capture.alone import find_returned
from analysis.capture.batch import Encoded, forward, pad
from analysis.capture.certificate import certify, explain_no_calls
from analysis.capture.folding import n_blocks
from analysis.capture.interface import Call, Capture
from analysis.capture.joining import joined_calls, n_patches
from analysis.capture.layout_probe import check_layout
from analysis.capture.optrace import Unfused
from analysis.capture.sites import placed
from analysis.capture.windows import find_windows, in_stages
from analysis.errors import CaptureRefused, first_line
from analysis.models import LoadedModel
from analysis.types import Site

MOST_OUTPUT_CHANGE = 1e-2
"""Capture changes no bit of the outputs; a model whose outputs change by more than this is random by itself."""


@dataclass(frozen=True)
class CapturePlan:
    """What will be captured from every input of a run.

    Attributes:
        sites: In the order of the forward pass.
        certificate: How the dry run proved the capture; see `analysis.capture.certificate`.
        key_offsets: Per site key, the mean key of each head [kv_head, d_head], fp32, to subtract before rounding keys
            to fp16; the softmax does not change. Zeros where it would: soft-cap or learned sinks.
        sink_logits: Per site key, the learned sink of each head [head], fp32; only sites that have one.
    """

    sites: list[Site]
    certificate: dict[str, Any]
    key_offsets: dict[str, Float[np.ndarray, "kv_head d_head"]] = field(default_factory=dict)
    sink_logits: dict[str, Float[np.ndarray, " head"]] = field(default_factory=dict)

    def keep(self, depths: set[int]) -> CapturePlan:
        """The plan for some layers only.

        Raises:
            CaptureRefused: No site has one of these depths.
        """
        sites = [site for site in self.sites if site.depth in depths]
        if not sites:
            known = sorted({site.depth for site in self.sites})
            raise CaptureRefused(
                f"No layer has one of the depths {sorted(depths)}; the model has {known[0]} to {known[-1]}."
            )
        keys = {site.key for site in sites}
        return replace(
            self,
            sites=sites,
            key_offsets={key: value for key, value in self.key_offsets.items() if key in keys},
            sink_logits={key: value for key, value in self.sink_logits.items() if key in keys},
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON."""
        return {
            "sites": [site.as_dict() for site in self.sites],
            "certificate": self.certificate,
            "key_offsets": {key: value.tolist() for key, value in self.key_offsets.items()},
            "sink_logits": {key: value.tolist() for key, value in self.sink_logits.items()},
        }


def make_plan(loaded: LoadedModel, dry_input: Encoded, lengths: Mapping[str, int] | None = None) -> CapturePlan:
    """Find the sites of a model on one input and prove that what is captured there is what the model does.

    Args:
        dry_input: One encoded input without batch axis: the longest of the data, so that sliding windows show.
        lengths: Tokens of this input by sequence, as the token table has them. What is not told is read off the
            texts of the input, else taken from what most calls of the sequence attend over.

    Raises:
        CaptureRefused: Nothing reaches this model's attention, or nothing captured holds; with what was tried.
    """
    loaded.module.eval()
    inputs, of_texts = pad(loaded, [dry_input])
    plain = _first_pass(loaded, inputs)
    with Capture(loaded.module, keep_outputs=True, implicit=True) as capture:
        captured = forward(loaded, inputs)
    if not capture.recorded:
        found, reason = find_returned(loaded, inputs)
        if not found:
            raise CaptureRefused(explain_no_calls(loaded, reason))
        capture.recorded.extend(found)
    capture.recorded[:] = joined_calls(capture.recorded, n_patches(inputs))
    calls = {call.key: call for call in capture.calls}
    windows = find_windows(loaded, inputs)
    in_stages(calls, windows)
    n_tokens = {name: of_inputs[0] for name, of_inputs in of_texts.items()} | dict(lengths or {})
    if loaded.sequences:
        own = {each.sequence: each.n_tokens for each in windows.values()}
        n_tokens = (own or _usual_tokens_of(loaded, capture.calls, n_blocks(inputs, 1))) | n_tokens
    n_tokens = n_tokens or {"": _usual_tokens(capture.calls, n_blocks(inputs, 1))}
    offsets = {key: key_offset(call) for key, call in calls.items()}
    sites, certificate = certify(loaded, inputs, plain, captured, calls, offsets, n_tokens, windows)
    if not certificate["outputs_max_abs_diff"] <= MOST_OUTPUT_CHANGE:
        raise CaptureRefused(
            f"{loaded.name} gives other outputs every time it runs on the same input (by "
            f"{certificate['outputs_max_abs_diff']:.1e}): it draws random numbers, so no attention is the model's own."
        )
    if not sites:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in list(certificate["left_out"].items())[:3])
        raise CaptureRefused(
            f"{loaded.name} cannot be captured: none of its {len(calls)} attention calls holds up ({reasons})."
        )
    if loaded.modality == "vision" and not loaded.sequences and sites[0].has_vectors and not loaded.draws_patches:
        certificate["no_grid"] = check_layout(loaded, inputs, sites[0].key, n_tokens[""])
    return CapturePlan(
        sites=sites,
        certificate=certificate,
        key_offsets={site.key: offsets[site.key] for site in sites},
        sink_logits={site.key: _sink_of_each_head(calls[site.key]) for site in sites if site.has_sink_logits},
    )


def _sink_of_each_head(call: Call) -> Float[np.ndarray, " head"]:
    """NaN where it depends on the query: attention is stored there, and nothing can be computed from these."""
    if call.sink_logits.ndim == 4:
        return np.full(call.q.shape[1], np.nan, dtype=np.float32)
    return call.sink_logits.detach().float().cpu().numpy().reshape(-1)


def key_offset(call: Call) -> Float[np.ndarray, "kv_head d_head"]:
    """The mean key of each head over the dry input; zeros where moving keys would change the attention."""
    if call.softcap is not None or call.sink_logits is not None:
        return np.zeros((call.k.shape[1], call.k.shape[-1]), dtype=np.float32)
    return call.k[0].detach().float().mean(dim=1).cpu().numpy()


def _first_pass(loaded: LoadedModel, inputs: dict[str, Tensor]) -> Any:
    """The outputs without capture; without torch's fused encoder layers too, which no trace can follow."""
    try:
        with Unfused():
            return forward(loaded, inputs)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        given = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
        raise CaptureRefused(
            f"{loaded.name} does not run on this {loaded.modality} input ({given}): {first_line(error)}"
        ) from error


def _usual_tokens_of(loaded: LoadedModel, calls: list[Call], blocks: int) -> dict[str, int]:
    """By sequence, over how many tokens of it most calls attend."""
    own: dict[str, list[Call]] = {}
    for call in calls:
        if not call.is_cross:
            own.setdefault(placed(call.site, loaded.sequences).query_sequence, []).append(call)
    return {name: _usual_tokens(of_sequence, blocks) for name, of_sequence in own.items()}


def _usual_tokens(calls: list[Call], blocks: int) -> int:
    lengths = [call.q.shape[2] * (blocks if call.q.shape[0] == blocks else 1) for call in calls]
    return max(set(lengths), key=lengths.count)

"""One padded forward pass over a batch, and what every site did on each of its inputs, padding cut away."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analysis.capture.alone import returned_calls
from analysis.capture.folding import block_diagonal, folded, n_blocks
from analysis.capture.interface import Call, Capture
from analysis.capture.joining import joined_calls, n_patches
from analysis.capture.rounding import CLOSE, survives_rounding
from analysis.capture.windows import Windows, allowed_places, find_windows
from analysis.errors import CaptureRefused, InputError
from analysis.models import LoadedModel, forward_module
from analysis.types import DECODER, ENCODER, IMPLICIT, RETURNED, Site, SiteCapture

if TYPE_CHECKING:
    from analysis.capture.plan import CapturePlan
    from analysis.capture.residual import ResidualTrace

Encoded = dict[str, np.ndarray]
"""One input's tensors for the model, without the batch axis, as in ``{"input_ids": [token]}``, ``{"pixel_values":
[channel, height, width]}`` or both; with what the decoder reads beside it, ``{"decoder_input_ids": [token]}``, where
the model has one."""

TOKEN_ARRAYS = re.compile(r"(decoder_)?(input_ids|attention_mask)$|.*token_type_ids$")
"""Arrays with a number for every token of a text; all else is pixels or sound."""

Lengths = dict[str, list[int]]
"""Tokens of each input of a batch, padding not counted, by sequence (`Site.query_sequence`)."""

LARGEST_HALF = 65504.0
"""The largest number of fp16."""


def run_batch(
    loaded: LoadedModel,
    plan: CapturePlan,
    batch: list[tuple[int, Encoded]],
    want_attention: bool = True,
    stores_attention: bool = False,
    rounded: bool = False,
    residuals: ResidualTrace | None = None,
) -> list[list[SiteCapture]]:
    """Run a batch once and return what was captured, per input in order and per site in the plan's order.

    Texts are padded on the right; images and sounds of one shape share a pass, others run in turn.

    Args:
        batch: Pairs of input id and encoded input.
        want_attention: Also compute the attention, fp32. Where q and k rounded to fp16 would not give it back, by the
            dry run or, at sites that came near the tolerance there, on the input itself, it is computed in any case.
        stores_attention: The caller stores the attention of this batch whatever comes; then nobody needs to know
            whether rounded q and k would give it back, and the inputs are not looked at for it.
        rounded: Queries and keys may come as they are stored, in fp16.
        residuals: An open trace, which then keeps the residual states of these inputs too.

    Returns:
        Arrays are fp32; queries, keys and attention may be views of one batch array.

    Raises:
        CaptureRefused: A site of the plan did not call, or called with other tokens than the dry run showed.
    """
    captured: dict[int, list[SiteCapture]] = {}
    wanted = _Wanted(want_attention or stores_attention, not stores_attention, rounded)
    for members in _equal_shapes(loaded, batch):
        captured.update(_run_padded(loaded, plan, members, wanted, residuals))
    return [captured[input_id] for input_id, _ in batch]


def forward(loaded: LoadedModel, inputs: dict[str, Tensor], **options: Any) -> Any:
    """The plain forward pass: eval mode, no gradients, no key-value cache, only the arguments the model names."""
    return forward_module(loaded.module, inputs, **options)


def pad(loaded: LoadedModel, inputs: list[Encoded]) -> tuple[dict[str, Tensor], Lengths]:
    """Batch tensors on the model's device, texts padded on the right, and the length of each text in tokens.

    No lengths are told of images and sounds, which have to be of one shape.
    """
    tensors, lengths = {}, {}
    for name in inputs[0]:
        rows = [one[name] for one in inputs]
        joined = _padded(loaded, name, rows) if TOKEN_ARRAYS.match(name) else np.stack(rows)
        tensors[name] = _to_device(loaded, joined)
    for prefix, sequence in _texts(loaded, inputs[0]).items():
        lengths[sequence] = [len(one[f"{prefix}input_ids"]) for one in inputs]
        mask = np.arange(max(lengths[sequence]))[None, :] < np.array(lengths[sequence])[:, None]
        tensors[f"{prefix}attention_mask"] = _to_device(loaded, mask.astype(np.int64))
    return tensors, lengths


def _texts(loaded: LoadedModel, encoded: Encoded) -> dict[str, str]:
    """The texts of an input, by what the names of their arrays begin with: which sequence they are."""
    has_decoder = "decoder_input_ids" in encoded
    texts = {"decoder_": DECODER} if has_decoder else {}
    if "input_ids" in encoded:
        own = [name for name, modality in loaded.sequences if modality == "text" and name != DECODER]
        texts[""] = own[0] if own else ENCODER if has_decoder else ""
    return texts


def _padded(loaded: LoadedModel, name: str, rows: list[np.ndarray]) -> np.ndarray:
    pad_id = getattr(loaded.processor, "pad_token_id", None) or 0
    filling = pad_id if name.endswith("input_ids") else 0
    padded = np.full((len(rows), max(map(len, rows))), filling, dtype=rows[0].dtype)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


@dataclass(frozen=True)
class _Wanted:
    """What is to be made of a call: see `run_batch`."""

    attention: bool
    checks_rounding: bool
    rounded: bool


def _run_padded(
    loaded: LoadedModel,
    plan: CapturePlan,
    batch: list[tuple[int, Encoded]],
    wanted: _Wanted,
    residuals: ResidualTrace | None,
) -> dict[int, list[SiteCapture]]:
    inputs, lengths = pad(loaded, [encoded for _, encoded in batch])
    sites = {site.key: site for site in plan.sites}
    blocks = n_blocks(inputs, len(batch))
    masks = _Masks(lengths)
    windows = find_windows(loaded, inputs)
    fields: dict[str, list[dict[str, Any]]] = {}

    def take(call: Call) -> None:
        site = sites.get(call.key)
        if site is not None and call.key in windows:
            fields[site.key] = _split_windows(call, windows[call.key], plan.key_offsets[site.key], wanted)
        elif site is not None:
            is_folded = blocks > 1 and call.q.shape[0] == blocks * len(batch)
            _check(call, site, len(batch) * (blocks if is_folded else 1), {} if is_folded else lengths)
            offset = torch.from_numpy(plan.key_offsets[site.key]).to(call.k.device)
            checks = wanted.checks_rounding and _is_close(plan, site)
            asked = replace(wanted, checks_rounding=checks and not is_folded)
            split = _split(call, site, offset, masks, lengths, asked, blocks if is_folded else 1)
            fields[site.key] = split

    routes = {site.route for site in plan.sites}
    if RETURNED in routes:
        returned, reason = returned_calls(loaded, inputs)
        if reason:
            raise CaptureRefused(f"{loaded.name} gave its attention in the dry run, but not here: {reason}.")
        for call in returned:
            take(call)
    else:
        parts: list[Call] = []
        whole = n_patches(inputs)

        def take_whole(call: Call) -> None:
            parts.append(call) if whole is not None and call.q.shape[2] < whole else take(call)

        with Capture(loaded.module, on_call=take_whole, trace="optrace" in routes, implicit=IMPLICIT in routes):
            forward(loaded, inputs)
        for call in joined_calls(parts, whole):
            take(call)
    for site in plan.sites:
        if site.key not in fields:
            raise CaptureRefused(f"{site.label} made no attention call on this input, though it did in the dry run.")
    if residuals is not None:
        seen = {site.query_sequence: [len(each["allowed"]) for each in fields[site.key]] for site in plan.sites}
        n_tokens = seen | lengths
        residuals.end_pass([input_id for input_id, _ in batch], n_tokens)
    return {
        input_id: [SiteCapture(site=site, input_id=input_id, **fields[site.key][row]) for site in plan.sites]
        for row, (input_id, _) in enumerate(batch)
    }


def _split(
    call: Call, site: Site, offset: Tensor, masks: _Masks, lengths: Lengths, wanted: _Wanted, blocks: int = 1
) -> list[dict[str, Any]]:
    """The fields of a `SiteCapture` for each input of the batch."""
    n_queries, n_keys = lengths.get(site.query_sequence), lengths.get(site.key_sequence)
    with torch.inference_mode():
        halves = _rounded(call, offset) if wanted.rounded and site.has_vectors else None
        queries, keys = halves or (_numpy(call.q), _numpy(call.k))
        value_norms = _numpy(torch.linalg.vector_norm(call.v, dim=-1, dtype=torch.float32))
        allowed, must_store = masks.of(call, site)
        weights = call.attention() if wanted.attention or blocks > 1 or any(must_store) else None
        if wanted.checks_rounding and not all(must_store):
            fine = survives_rounding(call, masks.raw(call), offset, n_queries, n_keys)
            must_store = [must or not is_fine for must, is_fine in zip(must_store, fine, strict=True)]
            weights = call.attention() if weights is None and any(must_store) else weights
        attention = None if weights is None else _numpy(weights)
    if blocks > 1:
        queries, keys, value_norms = (folded(rows, blocks) for rows in (queries, keys, value_norms))
        parts = [slice(first, first + blocks) for first in range(0, len(allowed), blocks)]
        allowed, must_store = [block_diagonal(np.stack(allowed[part])) for part in parts], [True] * len(parts)
        attention = None if attention is None else np.stack([block_diagonal(attention[part]) for part in parts])
    fields = []
    for row, mask in enumerate(allowed):
        n, m = mask.shape
        keep = wanted.attention or must_store[row]
        fields.append(
            {
                "queries": queries[row, :, :n],
                "keys": keys[row, :, :m],
                "value_norms": value_norms[row, :, :m],
                "allowed": mask,
                "attention": attention[row, :, :n, :m] if attention is not None and keep else None,
                "must_store": must_store[row],
            }
        )
    return fields


def _split_windows(
    call: Call, windows: Windows, offset: Float[np.ndarray, "kv_head d_head"], wanted: _Wanted
) -> list[dict[str, Any]]:
    """`_split` of a call whose batch axis holds windows: their places as patches of the picture."""
    with torch.inference_mode():
        halves = _rounded(call, torch.from_numpy(offset).to(call.k.device)) if wanted.rounded else None
        queries, keys = halves or (_numpy(call.q), _numpy(call.k))
        norms = _numpy(torch.linalg.vector_norm(call.v, dim=-1, dtype=torch.float32))
        weights = call.attention()
        allowed = windows.squares(allowed_places(call, weights))[:, 0]
        attention = windows.squares(_numpy(weights))
    lists = [windows.lists(rows) for rows in (queries, keys, norms)]
    names = ("queries", "keys", "value_norms", "allowed", "attention")
    return [
        dict(zip(names, each, strict=True)) | {"must_store": True}
        for each in zip(*lists, allowed, attention * allowed[:, None], strict=True)
    ]


def _rounded(call: Call, offset: Float[Tensor, "kv_head d_head"]) -> tuple[np.ndarray, np.ndarray] | None:
    """Queries, and keys less the offset, as fp16; None where a value is beyond its range or not finite."""
    halves = []
    for vectors, moved in ((call.q, 0.0), (call.k, float(offset.abs().max()))):
        low, high = torch.aminmax(vectors)
        if not max(-float(low), float(high)) + moved < LARGEST_HALF:  # also where it is NaN
            return None
        halves.append(torch.empty(vectors.shape, dtype=torch.float16, device=vectors.device))
    torch.sub(call.k.float(), offset[:, None], out=halves[1])
    return halves[0].copy_(call.q).cpu().numpy(), halves[1].cpu().numpy()


def _is_close(plan: CapturePlan, site: Site) -> bool:
    """True when the dry run came near the tolerance for rounding, so that every input is checked by itself."""
    dry = plan.certificate.get("sites", {}).get(site.key, {}).get("recomputed_max_abs_diff")
    return dry is None or dry > CLOSE


class _Masks:
    """Who may attend to whom for each input of one pass; layers that share a mask tensor share the work."""

    def __init__(self, lengths: Lengths) -> None:
        self.lengths = lengths
        self._raw: dict[tuple, tuple[Tensor, bool, Any]] = {}
        self._trimmed: dict[tuple, list[np.ndarray]] = {}
        self._irregular: dict[tuple, list[bool]] = {}

    def raw(self, call: Call) -> Bool[Tensor, "#batch #head query key"]:
        """True where the query may attend to the key, padding included."""
        return self._look(call)[1]

    def of(self, call: Call, site: Site) -> tuple[list[Bool[np.ndarray, "query key"]], list[bool]]:
        """Masks, trimmed, and whether q and k cannot give the attention back, for each input."""
        key, allowed, is_weighed = self._look(call)
        key = (*key, site.query_sequence, site.key_sequence)
        if key not in self._trimmed:
            batch, n_queries, n_keys = call.q.shape[0], call.q.shape[2], call.k.shape[2]
            rows = allowed.any(dim=1).expand(batch, n_queries, -1).cpu().numpy()
            ends = self.lengths.get(site.query_sequence) or [n_queries] * batch
            key_ends = self.lengths.get(site.key_sequence) or [n_keys] * batch
            self._trimmed[key] = [row[:n, :m] for row, n, m in zip(rows, ends, key_ends, strict=True)]
        masks = self._trimmed[key]
        if site.band is None or not site.recomputable or is_weighed or call.position_bias is not None:
            return masks, [True] * len(masks)
        if (*key, site.band) not in self._irregular:
            self._irregular[*key, site.band] = [not site.band.describes(mask) for mask in masks]
        return masks, self._irregular[*key, site.band]

    def _look(self, call: Call) -> tuple[tuple, Tensor, bool]:
        key = (id(call.mask), call.is_causal, call.window, call.q.shape[0], call.q.shape[2], call.k.shape[2])
        if key not in self._raw:
            allowed, is_weighed = call.allowed()
            heads_differ = allowed.shape[1] > 1 and not bool((allowed == allowed[:, :1]).all())
            # The mask itself is held, so that no other can come to have its id while this pass lasts.
            self._raw[key] = allowed, is_weighed or heads_differ, call.mask
        return key, *self._raw[key][:2]


def _check(call: Call, site: Site, n_inputs: int, lengths: Lengths) -> None:
    n_queries = max(lengths.get(site.query_sequence) or [call.q.shape[2]])
    own = n_queries if site.key_sequence == site.query_sequence else call.k.shape[2]
    n_keys = max(lengths.get(site.key_sequence) or [own])
    if call.q.shape[0] != n_inputs or call.q.shape[2] != n_queries or call.k.shape[2] != n_keys:
        raise CaptureRefused(
            f"{site.label} attended over {call.q.shape[2]} x {call.k.shape[2]} tokens of {call.q.shape[0]} sequences; "
            f"expected {n_queries} x {n_keys} tokens of {n_inputs} inputs."
        )


def _equal_shapes(loaded: LoadedModel, batch: list[tuple[int, Encoded]]) -> list[list[tuple[int, Encoded]]]:
    for input_id, encoded in batch:
        if not encoded or any(not np.size(value) for value in encoded.values()):
            raise InputError(f"Input {input_id} is empty: it has no tokens to attend.")
    groups: dict[tuple, list[tuple[int, Encoded]]] = {}
    for input_id, encoded in batch:
        shape = tuple((name, np.shape(value)) for name, value in encoded.items() if not TOKEN_ARRAYS.match(name))
        if np.ndim(encoded.get("pixel_values", 0)) == 2:  # a list of patches, which the model lays end to end
            shape = (*shape, input_id)
        groups.setdefault(shape, []).append((input_id, encoded))
    return list(groups.values())


def _to_device(loaded: LoadedModel, array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    dtype = getattr(torch, loaded.dtype) if tensor.is_floating_point() else tensor.dtype
    return tensor.to(loaded.device, dtype)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()

"""Names for attention calls: ``modality.stack.role.depth``, read from the model and the call, never from its type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool

from analysis.models import modalities
from analysis.types import DECODER, ENCODER, IMPLICIT, Band, InputSequence, Site

if TYPE_CHECKING:
    from analysis.capture.interface import Call


class CallNames:
    """Which attention call of a model is which: the module's qualified name, and how often it called in this pass.

    Attributes:
        n_passes: Forward passes begun.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._ordinals: Counter[str] = Counter()
        self.n_passes = 0

    def __contains__(self, module: object) -> bool:
        return id(module) in self._names

    def begin_pass(self) -> None:
        """A forward pass of the model begins."""
        self.n_passes += 1
        self._ordinals.clear()

    def next_call(self, module: object) -> tuple[str, int]:
        """The name of a module that calls now, and the ordinal of this call."""
        name = self._names[id(module)]
        self._ordinals[name] += 1
        return name, self._ordinals[name] - 1


def name_sites(calls: list[Call], model: torch.nn.Module) -> list[Site]:
    """Sites for the calls of one forward pass, in order.

    The modality is that of the nearest `PreTrainedModel` above the module. The stack is ``enc`` or ``dec`` by the
    module path's words, else by whether a query sees later keys. Depth counts the calls of one tower.
    """
    towers: dict[tuple[str, str, str], list[str]] = {}
    depths: Counter[str] = Counter()
    sites = []
    for index, call in enumerate(calls):
        owner_name, owner = _owner(model, call.module_name)
        mask, has_bias = allowed_of_longest(call)
        band = None if mask is None else find_band(mask)
        is_biased = has_bias or call.position_bias is not None
        modality = _modality(owner)
        role = "cross" if call.is_cross else IMPLICIT if call.route == IMPLICIT else "self"
        stack = "dec" if call.is_cross else _stack(call.module_name, owner, mask)
        owners = towers.setdefault((modality, stack, role), [])
        if owner_name not in owners:
            owners.append(owner_name)
        nth = owners.index(owner_name)
        stack += str(nth + 1) if nth else ""
        depth = depths[f"{modality}.{stack}.{role}"]
        depths[f"{modality}.{stack}.{role}"] += 1
        sites.append(
            Site(
                index=index,
                key=call.key,
                label=f"{modality}.{stack}.{role}.{depth}",
                modality=modality,
                stack=stack,
                role=role,
                depth=depth,
                n_heads=call.q.shape[1],
                n_kv_heads=call.k.shape[1],
                d_head=call.q.shape[-1],
                d_value=call.v.shape[-1],
                scale=_number(call.scale),
                band=band,
                softcap=call.softcap,
                has_sink_logits=call.sink_logits is not None,
                route=call.route,
                recomputable=call.alone is None and band is not None and not is_biased and not _sinks_vary(call),
                has_position_bias=is_biased,
            )
        )
    return with_sequences(sites)


def with_sequences(sites: list[Site]) -> list[Site]:
    """Sites of one forward pass, told whose tokens their queries and keys are where there is cross-attention: then an
    input has two sequences, that of the encoder and that of the decoder."""
    if not any(site.role == "cross" for site in sites):
        return sites
    own = [DECODER if site.stack.startswith("dec") else ENCODER for site in sites]
    return [
        replace(site, query_sequence=mine, key_sequence=ENCODER if site.role == "cross" else mine)
        for site, mine in zip(sites, own, strict=True)
    ]


def placed(site: Site, sequences: Sequence[InputSequence]) -> Site:
    """A site told which of a model's sequences its queries and its keys are tokens of.

    That of its stack where one is so named (`ENCODER`, `DECODER`), else the first of its modality. Keys of
    cross-attention are tokens of the first other one.
    """
    names = [sequence.name for sequence in sequences]
    stack = DECODER if site.stack.startswith("dec") else ENCODER
    alike = [sequence.name for sequence in sequences if sequence.modality == site.modality]
    own = stack if stack in names else (alike or names)[0]
    keys = next(name for name in names if name != own) if site.role == "cross" else own
    return replace(site, query_sequence=own, key_sequence=keys)


def _sinks_vary(call: Call) -> bool:
    """The learned sink depends on the query, so no logit per head gives the attention back."""
    return call.sink_logits is not None and call.sink_logits.ndim == 4


def find_band(allowed: Bool[np.ndarray, "query key"]) -> Band | None:
    """The band that describes a mask exactly, or None.

    A side on which the mask reaches the end of the input is unbounded: a window wider than the input cannot be seen.
    """
    if not allowed.any():
        return None
    n_queries, n_keys = allowed.shape
    queries = np.flatnonzero(allowed.any(axis=1))
    first, last = allowed.argmax(axis=1), n_keys - 1 - allowed[:, ::-1].argmax(axis=1)
    left, right = int((queries - first[queries]).max()), int((last[queries] - queries).max())
    band = Band(None if left >= n_queries - 1 else left, None if right >= n_keys - 1 else right)
    if allowed.shape == (1, 1):
        band = Band()
    return band if band.describes(allowed) else None


def allowed_of_longest(call: Call) -> tuple[Bool[np.ndarray, "query key"] | None, bool]:
    """The mask of the input of the batch with least padding, padding cut away, and whether it carries a bias.

    None when heads have different masks.
    """
    allowed, has_bias = call.allowed()
    if allowed.shape[1] > 1 and not bool((allowed == allowed[:, :1]).all()):
        return None, has_bias
    masks = allowed[:, 0].cpu().numpy()
    mask = masks[int(masks.any(axis=1).sum(axis=-1).argmax())]
    seen = mask.any(axis=0)
    if mask.shape[0] == mask.shape[1] and not call.is_cross:
        return mask[np.ix_(seen, seen)], has_bias
    return mask[:, seen], has_bias


def _owner(model: torch.nn.Module, name: str) -> tuple[str, torch.nn.Module]:
    from transformers import PreTrainedModel

    parts = name.split(".") if name else []
    for length in range(len(parts), -1, -1):
        path = ".".join(parts[:length])
        module = model.get_submodule(path)
        if isinstance(module, PreTrainedModel):
            return path, module
    return "", model


def _modality(owner: torch.nn.Module) -> str:
    reads = modalities(owner)
    return reads[0] if reads[0] in ("text", "vision", "audio") else "text"


def _stack(name: str, owner: torch.nn.Module, mask: Bool[np.ndarray, "query key"] | None) -> str:
    words = [*type(owner).__name__.lower().split("_"), *name.lower().split(".")]
    if getattr(getattr(owner, "config", None), "is_decoder", False) or any("decoder" in word for word in words[1:]):
        return "dec"
    if any("encoder" in word for word in words):
        return "enc"
    sees_later_keys = mask is not None and len(mask) > 1 and bool(np.triu(mask, 1).any())
    return "enc" if mask is None or sees_later_keys else "dec"


def _number(scale: float | torch.Tensor) -> float:
    if isinstance(scale, torch.Tensor):
        return float(scale) if scale.numel() == 1 else float("nan")
    return float(scale)

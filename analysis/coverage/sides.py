"""Arguments beside the text and the image that some models take or need, made by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from analysis.coverage.takes import Takes

Make = Callable[[Takes, dict[str, Tensor]], Tensor | None]


def _n_tokens(found: dict[str, Tensor]) -> int:
    return found["input_ids"].shape[1] if "input_ids" in found else 12


def _bbox(takes: Takes, found: dict[str, Tensor]) -> Tensor:
    corners = takes.integers(0, 20, 1, _n_tokens(found), 2)
    return torch.cat([corners, corners + 5], dim=-1)


def _picture(takes: Takes, _found: dict[str, Tensor]) -> Tensor:
    size = takes.number("image_size", default=64)
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    return takes.normal(1, 3, height // 2 if "prompt_pixel_values" in takes.names else height, width)


def _ones(*shape: int) -> Make:
    return lambda takes, found: torch.ones(*shape, dtype=torch.long)


def _vectors(count: int, *fields: str) -> Make:
    """Random vectors of the width that the first of these fields names. Shape: batch of 1, count, width."""
    return lambda takes, found: takes.normal(1, count, takes.number(*fields, default=32))


def _features_mask(takes: Takes, found: dict[str, Tensor]) -> Tensor | None:
    return torch.ones(1, found["input_features"].shape[-1]) if "input_features" in found else None


def _seen(takes: Takes, found: dict[str, Tensor]) -> Tensor | None:
    """What query vectors look at (Q-Former)."""
    if "query_embeds" not in takes.names:
        return None
    return takes.normal(1, 9, takes.number("encoder_hidden_size", "hidden_size", default=32))


def _joint_mask(takes: Takes, _found: dict[str, Tensor]) -> Tensor | None:
    """Of the context and the noise behind it, together."""
    return torch.ones(1, 16, dtype=torch.long) if "noise_embeds" in takes.names else None


def _context(takes: Takes, _found: dict[str, Tensor]) -> Tensor:
    widths = [module.in_features for name, module in takes.model.named_modules() if name.split(".")[-1] == "fc"]
    return takes.normal(1, 8, widths[0] if widths else 32)


def _latents(takes: Takes, _found: dict[str, Tensor]) -> Tensor:
    return takes.normal(1, takes.number("hidden_size", default=32), 8)


def _image_mask(takes: Takes, found: dict[str, Tensor]) -> Tensor | None:
    pixels = found.get("pixel_values")
    if pixels is None or pixels.ndim != 5:
        return None
    return torch.ones(1, _n_tokens(found), pixels.shape[1], dtype=torch.long)


def _image_places(takes: Takes, found: dict[str, Tensor]) -> Tensor | None:
    """Where in the text the image stands: in its first tokens (Kosmos-2)."""
    count = takes.number("latent_query_num")
    if count is None or count > _n_tokens(found):
        return None
    return (torch.arange(_n_tokens(found)) < count).long()[None]


def _camera_mask(takes: Takes, found: dict[str, Tensor]) -> Tensor | None:
    if "action_embeds" not in takes.names or found.get("pixel_values") is None:
        return None
    return torch.ones(1, found["pixel_values"].shape[1], dtype=torch.bool)


SIDES: dict[str, tuple[Make, bool]] = {
    "bbox": (_bbox, True),
    "image_attention_mask": (_image_mask, True),
    "image_embeds_position_mask": (_image_places, True),
    "pixel_attention_mask": (_camera_mask, True),
    "qformer_input_ids": (lambda takes, found: takes.words(6), True),
    "qformer_attention_mask": (_ones(1, 6), True),
    "visual_feats": (_vectors(5, "visual_feat_dim"), True),
    "visual_pos": (_vectors(5, "visual_pos_dim"), True),
    "protein_input_ids": (lambda takes, found: takes.integers(5, 20, 1, 9), True),
    "protein_attention_mask": (_ones(1, 9), True),
    "task_inputs": (lambda takes, found: takes.integers(0, 50, 1, takes.number("task_seq_len", default=77)), False),
    "classes_input_ids": (lambda takes, found: takes.words(4).reshape(2, 2), False),
    "classes_attention_mask": (_ones(2, 2), False),
    "classes_structure": (lambda takes, found: torch.tensor([2]), False),
    "tasks_input_ids": (lambda takes, found: takes.words(6), False),
    "tasks_attention_mask": (_ones(1, 6), False),
    "prompt_pixel_values": (_picture, False),
    "prompt_masks": (_picture, False),
    "query_embeds": (_vectors(8, "hidden_size"), False),
    "encoder_hidden_states": (_seen, True),
    "attention_mask": (_joint_mask, True),
    "inputs_embeds": (_vectors(16, "hidden_size", "d_model"), False),
    "inputs": (_vectors(20, "d_model"), False),
    "noise_embeds": (_vectors(8, "hidden_size"), False),
    "context_hidden_states": (_context, False),
    "latents": (_latents, False),
    "high_res_pixel_values": (_picture, True),
    "action_embeds": (_vectors(4, "hidden_size"), False),
    "decoder_input_values": (_vectors(7, "hidden_size"), True),
    "input_features_mask": (_features_mask, False),
    "input_values": (lambda takes, found: takes.normal(1, 1, 4000), False),
    "states": (_vectors(6, "state_dim"), True),
    "actions": (_vectors(6, "act_dim"), True),
    "rewards": (lambda takes, found: takes.normal(1, 6, 1), True),
    "returns_to_go": (lambda takes, found: takes.normal(1, 6, 1), True),
    "timesteps": (lambda takes, found: torch.arange(6)[None], True),
}
"""Argument -> how it is made from what is there already, and whether it is given also where it is not required."""

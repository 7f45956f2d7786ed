"""Made-up images, videos, sounds and series in the shapes that models of transformers take them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from analysis.coverage.takes import Takes

Inputs = dict[str, Tensor]

MEDIA = ("pixel_values", "pixel_values_videos", "input_features", "input_values", "image_pixel_values", "hidden_states")


def media(takes: Takes) -> Iterator[Inputs]:
    """Images, videos or sounds for a model, with the arguments that describe them, likeliest shape first."""
    yield from _images(takes)
    yield from _videos(takes)
    yield from _features(takes)
    yield from _waves(takes)
    yield from _series(takes)


def _images(takes: Takes) -> Iterator[Inputs]:
    names = takes.names
    pixels = next((name for name in ("pixel_values", "image_pixel_values", "hidden_states") if name in names), None)
    if pixels is None or (pixels == "hidden_states" and "grid_thw" not in names):
        return
    if names & {"grid_thw", "image_grid_thw", "image_grid_hw"}:
        for rows, columns in ((4, 6), (4, 4), (8, 8)):
            yield from _flattened(takes, pixels, rows, columns)
    if "spatial_shapes" in names:
        yield _padded_patches(takes, 4, 4)
    if names & {"pixel_position_ids", "image_position_ids"}:
        for side in (6, 3, 4):
            yield _placed_patches(takes, side)
    if "target_sizes" in names:
        patch = _side(takes.number("patch_size", default=8))
        for side in (4, 8):
            yield {
                pixels: takes.normal(1, 3, patch, side * side * patch),
                "target_sizes": torch.tensor([[side, side]]),
            }
    yield from _pictures(takes, pixels)


def _side(value: int | list[int] | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[-1]


def _channels(takes: Takes) -> int:
    found = takes.number("num_channels", "in_channels", "in_chans", "image_channels", default=3)
    return found if isinstance(found, int) and found <= 4 else 3


def _flattened(takes: Takes, pixels: str, rows: int, columns: int) -> Iterator[Inputs]:
    """Patches as rows of one matrix, with the grid they come from (Qwen-VL); or each patch as a small picture."""
    patch = _side(takes.number("patch_size", "spatial_patch_size", default=8))
    channels, times = _channels(takes), _side(takes.number("temporal_patch_size", "patch_size_t", default=1))
    grid = torch.tensor([[1, rows, columns]])
    sides = dict.fromkeys(takes.names & {"grid_thw", "image_grid_thw"}, grid)
    if "image_grid_hw" in takes.names:
        sides["image_grid_hw"] = grid[:, 1:]
    for name in takes.names & {"merge_sizes", "image_merge_sizes"}:
        sides[name] = torch.tensor([takes.number("spatial_merge_size", default=2)])
    widths = [channels * times * patch * patch, _patch_width(takes.model)]
    for width in dict.fromkeys(width for width in widths if width):
        yield {pixels: takes.normal(rows * columns, width), **sides}
    yield {pixels: takes.normal(rows * columns, channels, patch, patch), **sides}
    block = patch * takes.number("spatial_merge_size", default=2)
    yield {pixels: takes.normal(rows * columns, block, block, channels), **sides}


def _patch_width(model: torch.nn.Module) -> int | None:
    """What the linear layer that embeds patches takes."""
    for name, module in model.named_modules():
        if "patch" in name and isinstance(module, torch.nn.Linear):
            return module.in_features
    return None


def _padded_patches(takes: Takes, rows: int, columns: int) -> Inputs:
    """Patches as rows, padded, with their mask and shape (SigLIP 2)."""
    patch = _side(takes.number("patch_size", "encoder_patch_size", default=8))
    return {
        "pixel_values": takes.normal(1, rows * columns, _channels(takes) * patch * patch),
        "pixel_attention_mask": torch.ones(1, rows * columns, dtype=torch.long),
        "spatial_shapes": torch.tensor([[rows, columns]]),
    }


def _placed_patches(takes: Takes, side: int) -> Inputs:
    """Patches as rows with a row and a column each (Gemma 4)."""
    patch = _side(takes.number("patch_size", default=8))
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="xy"), dim=-1)
    name = "pixel_position_ids" if "pixel_position_ids" in takes.names else "image_position_ids"
    return {
        "pixel_values": takes.normal(1, side * side, _channels(takes) * patch * patch),
        name: places.reshape(1, side * side, 2),
    }


def _pictures(takes: Takes, pixels: str) -> Iterator[Inputs]:
    size = takes.number("image_size", "img_size", "input_image_size", default=64)
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    if "prompt_pixel_values" in takes.names:  # the picture stands below its prompt
        height //= 2
    channels = _channels(takes)
    several = takes.number("num_frames", "frames_per_clip", default=2)
    for shape in (
        (1, channels, height, width),
        (1, several, channels, height, width),
        (1, 3, channels, height, width),
        (1, 1, channels, height, width),
        (1, channels, several, height, width),
        (1, 1, 1, channels, height, width),
        (1, channels, 64, 64),
        (1, channels, 128, 128),
        (1, channels, 224, 224),
        (1, channels, 256, 256),
    ):
        plain = {pixels: takes.normal(*shape)}
        if "image_sizes" in takes.names:
            wide = shape[1] == 3 and len(shape) == 5
            yield {**plain, "image_sizes": torch.tensor([[height, 2 * width if wide else width]])}
        yield plain


def _videos(takes: Takes) -> Iterator[Inputs]:
    if "pixel_values_videos" not in takes.names:
        return
    if "video_grid_thw" in takes.names:
        for found in _flattened(takes, "pixel_values_videos", 4, 4):
            yield {"pixel_values_videos": found["pixel_values_videos"], "video_grid_thw": torch.tensor([[1, 4, 4]])}
    frames = takes.number("frames_per_clip", "num_frames", default=4)
    size = _side(takes.number("image_size", "crop_size", default=64))
    yield {"pixel_values_videos": takes.normal(1, frames, 3, size, size)}


def _features(takes: Takes) -> Iterator[Inputs]:
    name = next((name for name in ("input_features", "audio_mel", "audio_input_features") if name in takes.names), None)
    if name is None:
        return
    bins = takes.number(
        "num_mel_bins", "n_mels", "input_feat_size", "feature_size", "input_feat_per_channel", default=80
    )
    frames = 2 * takes.number("max_source_positions", default=64)
    first = _first_width(takes.model)
    for shape in (
        (1, bins, frames),
        (1, frames, bins),
        (1, frames, first),
        (1, first, frames),
        (1, 1, frames, bins),
        (1, frames, 2 * bins),
        (1, 1, takes.number("spec_size", default=256), bins),
        (1, 8 * frames, bins),
        (1, bins, 3000),
    ):
        n_frames = shape[1] if shape[-1] in (bins, first, 2 * bins) and len(shape) == 3 else shape[-1]
        masks = {
            mask: torch.ones(1, n_frames, dtype=torch.bool if mask == "audio_mel_mask" else torch.long)
            for mask in takes.names & {"input_features_mask", "feature_attention_mask", "audio_mel_mask"}
        }
        yield {name: takes.normal(*shape), **masks}


def _waves(takes: Takes) -> Iterator[Inputs]:
    if "input_values" not in takes.names:
        return
    bins, longest = takes.number("num_mel_bins", default=80), takes.number("max_length", default=64)
    width = takes.number("hidden_size", default=32)
    for shape in (
        (1, 4000),
        (1, 1, 4000),
        (1, longest, bins),
        (1, 9600),
        (1, 1, 9600),
        (1, 16000),
        (1, 1, 24000),
        (1, 12, width),
    ):
        yield {"input_values": takes.normal(*shape)}


def _first_width(model: torch.nn.Module) -> int:
    """What the first linear or convolution layer of a model takes."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            return module.in_features
        if isinstance(module, torch.nn.Conv1d):
            return module.in_channels
    return 80


def _series(takes: Takes) -> Iterator[Inputs]:
    if "past_values" not in takes.names:
        return
    length = takes.number("context_length", default=32)
    lags = takes.number("lags_sequence")
    if lags is not None:
        longest, future = length + max(lags), takes.number("prediction_length", default=4)
        width = takes.number("num_time_features", default=1)
        yield {
            "past_values": takes.normal(1, longest),
            "past_time_features": takes.normal(1, longest, width),
            "past_observed_mask": torch.ones(1, longest),
            "future_values": takes.normal(1, future),
            "future_time_features": takes.normal(1, future, width),
        }
        return
    observed = {"past_observed_mask": torch.ones(1, length, 1)} if "past_observed_mask" in takes.names else {}
    yield {"past_values": takes.normal(1, length, takes.number("num_input_channels", default=1)), **observed}
    yield {
        "past_values": takes.normal(1, length),
        "past_values_padding": torch.zeros(1, length, dtype=torch.long),
        "freq": torch.zeros(1, 1, dtype=torch.long),
    }

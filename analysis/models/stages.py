"""Vision models whose patches merge from stage to stage: how many tokens each stage has, and how they lie."""

from __future__ import annotations

import copy
from typing import Any

from analysis.errors import ModelError, first_line
from analysis.models.forward import forward_module
from analysis.models.layout import ImageLayout, patch_grid
from analysis.models.placing import input_device
from analysis.types import STAGE


def stage_name(number: int) -> str:
    """The sequence that the tokens of a stage are, counted from 0, as in ``stage 1``; see `InputSequence.name`."""
    return f"{STAGE}{number + 1}"


def count_stages(module: Any) -> int:
    """Stages whose numbers of tokens differ, on a blank image of the model's own size; 1 where patches do not merge."""
    import torch

    widths = {part.normalized_shape for part in module.modules() if isinstance(part, torch.nn.LayerNorm)}
    size = getattr(module.config, "image_size", None)
    if len(widths) < 2 or size is None:  # where patches merge, states grow wider
        return 1
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    try:
        return max(1, len(_stage_sizes(module, height, width)))
    except (ValueError, TypeError, RuntimeError):
        return 1


def stage_layouts(module: Any, height: int, width: int) -> list[ImageLayout]:
    """The grid of every stage for one processed image, patch size in pixels doubling with each merging.

    Raises:
        ModelError: The model does not take this size, or a stage's tokens are no grid of merged patches.
    """
    try:
        sizes = _stage_sizes(module, height, width)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{type(module).__name__} does not take {width} x {height} pixels ({first_line(error, 200)}); "
            "correct preprocessor_config.json in its folder."
        ) from error
    (patch_height, patch_width), _, _ = patch_grid(module, height, width)
    rows, columns = -(-height // patch_height), -(-width // patch_width)
    layouts = []
    for size in sizes:
        while rows * columns > size:
            rows, columns = -(-rows // 2), -(-columns // 2)
            patch_height, patch_width = 2 * patch_height, 2 * patch_width
        if rows * columns != size:
            raise ModelError(
                f"{type(module).__name__} has a stage of {size} tokens of a {height} x {width} image, which is no grid "
                "of its patches merged two by two: its tokens cannot be laid out on the image."
            )
        layouts.append(ImageLayout((), rows, columns, patch_height, patch_width))
    return layouts


def _stage_sizes(module: Any, height: int, width: int) -> list[int]:
    """Tokens of each stage in order, as the model's hidden states have them; empty where those are no token lists."""
    import torch

    # Some models keep what they learned of one size and run others otherwise from then on (Swin its shift): a copy.
    module = copy.deepcopy(module)
    shape = (1, getattr(module.config, "num_channels", 3), height, width)
    pixels = torch.zeros(shape, dtype=module.dtype, device=input_device(module))
    states = getattr(forward_module(module, {"pixel_values": pixels}, output_hidden_states=True), "hidden_states", None)
    if not states or any(state.ndim != 3 for state in states):
        return []
    return list(dict.fromkeys(state.shape[1] for state in states))

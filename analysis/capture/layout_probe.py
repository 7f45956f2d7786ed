"""Is a patch where the layout says it is? Change its pixels and see which token's key moves in the first layer."""

from __future__ import annotations

import torch
from torch import Tensor

from analysis.capture.batch import forward
from analysis.capture.interface import Capture
from analysis.errors import CaptureRefused, ModelError
from analysis.models import LoadedModel


def check_layout(loaded: LoadedModel, inputs: dict[str, Tensor], site_key: str, n_tokens: int) -> str:
    """Probe the patches in three corners of the image.

    Args:
        site_key: The first site, where tokens have not mixed yet.

    Returns:
        Empty, or why this model's tokens are not a grid (patches merge), in which case positions mean nothing.

    Raises:
        CaptureRefused: The tokens are a grid, but other ones than the layout says.
    """
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim != 4:
        return "no single image"
    try:
        layout = loaded.image_layout(*pixels.shape[-2:], n_tokens)
    except ModelError as error:
        return str(error)
    before = _first_keys(loaded, inputs, site_key)
    for row, column in ((0, 0), (0, layout.columns - 1), (layout.rows - 1, 0)):
        changed = pixels.clone()
        top, left = row * layout.patch_height, column * layout.patch_width
        changed[..., top : top + layout.patch_height, left : left + layout.patch_width] += 3
        moved = (_first_keys(loaded, {**inputs, "pixel_values": changed}, site_key) - before).abs().sum(dim=(0, 1, 3))
        expected = len(layout.prefix) + row * layout.columns + column
        if int(moved.argmax()) != expected:
            raise CaptureRefused(
                f"{loaded.name} puts its patches elsewhere: the pixels of row {row}, column {column} are its token "
                f"{int(moved.argmax())}, expected {expected} after {len(layout.prefix)} special tokens; "
                "its attention would be drawn over the wrong parts of the image."
            )
    return ""


def _first_keys(loaded: LoadedModel, inputs: dict[str, Tensor], site_key: str) -> Tensor:
    with Capture(loaded.module) as capture, torch.inference_mode():
        forward(loaded, inputs)
    return next(call.k.float() for call in capture.recorded if call.key == site_key)

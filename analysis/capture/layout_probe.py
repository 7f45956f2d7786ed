"""Is a patch where the layout says it is? Change its pixels and see which token's key moves in the first layer.

Where pixels come as a list of patches, some models put them in another order before they attend: which is found so.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from analysis.capture.batch import Encoded, forward, pad
from analysis.capture.interface import Capture
from analysis.capture.joining import joined_calls, n_patches
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


def patch_order(loaded: LoadedModel, encoded: Encoded) -> Int[np.ndarray, " token"]:
    """Which patch of the list that the processor made each token of the vision tower is.

    Patches are numbered in binary, and all that have one digit are changed at once: as many passes as digits.

    Args:
        encoded: One input whose pixels are a list of patches, without batch axis.

    Raises:
        ModelError: The tower's tokens are not the patches, each once.
    """
    inputs, _ = pad(loaded, [encoded])
    n, pixels = n_patches(inputs), inputs["pixel_values"]
    noise = torch.randn(pixels.shape[-1], generator=torch.Generator().manual_seed(0)).to(pixels) * 3
    before, numbers = _tower_keys(loaded, inputs, n), torch.arange(n, device=pixels.device)
    order = np.zeros(n, dtype=np.int64)
    for digit in range(max(n - 1, 1).bit_length()):
        has_digit = (numbers >> digit & 1).bool()
        changed = pixels + noise * has_digit[None, :, None]
        moved = (_tower_keys(loaded, {**inputs, "pixel_values": changed}, n) - before).abs().sum(dim=(0, 2))
        order += (moved > 1e-3 * moved.max()).cpu().numpy() * (1 << digit)
    if not np.array_equal(np.sort(order), np.arange(n)):
        raise ModelError(f"{loaded.name} does not make one token of each patch of a picture.")
    return order


def _tower_keys(loaded: LoadedModel, inputs: dict[str, Tensor], n: int) -> Tensor:
    """Keys of the first attention over all patches, or over all windows of them, ``[head, token, d_head]``."""
    with Capture(loaded.module) as capture, torch.inference_mode():
        forward(loaded, inputs)
    for call in joined_calls(capture.recorded, n):
        if call.k.shape[2] == n:
            return call.k[0].float()
    raise ModelError(f"{loaded.name} attends nowhere over the {n} patches of a picture.")

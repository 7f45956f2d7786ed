"""Vision models that draw which patches they keep: the others are dropped, and the kept ones come in a drawn order."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Int

from analysis.errors import ModelError
from analysis.models.forward import forward_module
from analysis.models.layout import ImageLayout, patch_grid, prefix_names
from analysis.models.placing import input_device

MOST_DRAWS = 200
"""So often noise is drawn again until patches of the last row and of the last column are kept."""


_known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def draws_patches(module: Any) -> bool:
    """True for a model that takes the numbers it draws by as the argument ``noise``, as masked autoencoders do, and
    whose output says which patches it kept, tried on a blank image."""
    if "noise" not in inspect.signature(module.forward).parameters:
        return False
    if module not in _known:
        size = getattr(module.config, "image_size", 224)
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        channels = getattr(module.config, "num_channels", 3)
        _, rows, columns = patch_grid(module, height, width)
        try:
            kept_patches(module, (channels, height, width), np.zeros(rows * columns, dtype=np.float32))
            _known[module] = True
        except (ModelError, ValueError, TypeError, RuntimeError):
            _known[module] = False
    return _known[module]


def draw(module: Any, pixels: Float[np.ndarray, "channel height width"]) -> Float[np.ndarray, " patch"]:
    """Noise for one processed image, the same each time that it comes.

    It is drawn again until the kept patches reach the last row and the last column, so that the extent of the picture
    shows in its tokens. Ours; of the rest nothing is chosen.

    Raises:
        ModelError: None of `MOST_DRAWS` does: too few patches are kept.
    """
    _, rows, columns = patch_grid(module, *pixels.shape[-2:])
    seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()[:8], "little")
    generator = np.random.default_rng(seed)
    for _ in range(MOST_DRAWS):
        noise = generator.random(rows * columns, dtype=np.float32)
        row, column = np.divmod(kept_patches(module, pixels.shape, noise), columns)
        if len(row) and row.max() == rows - 1 and column.max() == columns - 1:
            return noise
    raise ModelError(f"{type(module).__name__} keeps too few of the {rows} x {columns} patches to draw a picture of.")


def kept_patches(module: Any, shape: tuple[int, ...], noise: Float[np.ndarray, " patch"]) -> Int[np.ndarray, " kept"]:
    """The patches that the model keeps of an image of this shape under this noise, row by row, in the order of its
    tokens: as its output says, ``mask`` (0 for kept) and ``ids_restore`` (where each patch went).

    Raises:
        ModelError: Its output does not say.
    """
    import torch

    device = input_device(module)
    pixels = torch.zeros((1, *shape), dtype=module.dtype, device=device)
    output = forward_module(module, {"pixel_values": pixels, "noise": torch.from_numpy(noise)[None].to(device)})
    mask, restore = (getattr(output, name, None) for name in ("mask", "ids_restore"))
    if mask is None or restore is None:
        raise ModelError(f"{type(module).__name__} does not say which patches it keeps: choose another model.")
    n_kept = int((mask[0] == 0).sum())
    return np.argsort(restore[0].cpu().numpy(), kind="stable")[:n_kept]


def drawn_layout(module: Any, height: int, width: int, n_tokens: int, n_kept: int) -> ImageLayout:
    """The whole grid, with the names of the tokens in front of the kept patches."""
    (patch_height, patch_width), rows, columns = patch_grid(module, height, width)
    return ImageLayout(prefix_names(module, n_tokens - n_kept), rows, columns, patch_height, patch_width)

"""Which token of an image is what: special tokens first, then patches row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis.errors import ModelError


@dataclass(frozen=True)
class ImageLayout:
    """Which token of an image is what.

    Attributes:
        prefix: Names of the tokens before the patches, in order, as in ``("CLS", "REG0", "REG1")``.
        rows: Patch rows; patches follow the prefix row by row.
        columns: Patch columns.
        patch_height: Pixels of the processed image.
        patch_width: Pixels of the processed image.
    """

    prefix: tuple[str, ...]
    rows: int
    columns: int
    patch_height: int
    patch_width: int


def image_layout(module: Any, height: int, width: int, n_tokens: int) -> ImageLayout:
    """Names and grid of the tokens a vision model makes of one processed image of `height` x `width` pixels.

    Raises:
        ModelError: The tokens are not one grid of patches behind a few special ones.
    """
    (patch_height, patch_width), rows, columns = patch_grid(module, height, width)
    n_prefix = n_tokens - rows * columns
    if n_prefix < 0:
        raise ModelError(
            f"{type(module).__name__} makes {n_tokens} tokens of a {height} x {width} image, fewer than its {rows} x "
            f"{columns} patches: models that merge patches cannot be laid out as a grid."
        )
    return ImageLayout(prefix_names(module, n_prefix), rows, columns, patch_height, patch_width)


def patch_grid(module: Any, height: int, width: int) -> tuple[tuple[int, int], int, int]:
    """Patch size in pixels, rows and columns: from the patch convolution, else from the config."""
    import torch

    channels = getattr(module.config, "num_channels", 3)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d) and part.in_channels == channels and part.kernel_size[0] > 1:
            sizes = zip(
                (height, width), part.kernel_size, part.stride, part.padding if part.padding != "valid" else (0, 0)
            )
            rows, columns = ((pixels + 2 * pad - kernel) // stride + 1 for pixels, kernel, stride, pad in sizes)
            return tuple(part.stride), rows, columns
    patch = getattr(module.config, "patch_size", None)
    if patch is None:
        raise ModelError(f"{type(module).__name__} names no patch size: its tokens cannot be laid out on the image.")
    patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
    return patch, height // patch[0], width // patch[1]


def prefix_names(module: Any, n_prefix: int) -> tuple[str, ...]:
    """Names of the tokens before the patches, from the model's learned tokens; numbered when those do not add up."""
    words = {"cls_token": "CLS", "class_embedding": "CLS", "distillation_token": "DIST"}
    names, n_registers = [], 0
    for path, parameter in module.named_parameters():
        last = path.rsplit(".", 1)[-1]
        if last in words:
            names.append(words[last])
        elif last == "register_tokens":
            n_registers = parameter.shape[-2]
    names = sorted(dict.fromkeys(names)) + [f"REG{index}" for index in range(n_registers)]
    return tuple(names) if len(names) == n_prefix else tuple(f"EXTRA{index}" for index in range(n_prefix))

"""Where the tokens of a picture lie in it: in the vision tower, and in the language model behind it.

Read off what the processor made of the picture: the grid that it names itself, or the shape of its pixels with the
patches of the tower. The language model has as many tokens of the picture as the tower has patches, or of each crop a
whole fraction of them, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image

from analysis.inputs.image_tokens import undo_normalisation
from analysis.inputs.patch_columns import describe_patches
from analysis.models import ImageLayout

WHOLE = "whole"
"""The crop that is the whole picture, made small, beside the others."""

BOX = ("left", "top", "right", "bottom")
"""Columns of a token's place in the picture, 0 to 1 from its left and from its top."""


@dataclass(frozen=True)
class Crop:
    """One of the pictures that the tower is given of an input.

    Attributes:
        pixels: As the tower sees it, before normalisation, 0 to 1.
        prefix: Names of the tower's tokens before its patches.
        rows, columns: Of patches.
        patch: Height and width of one, in pixels.
        box: Where it lies in the picture, 0 to 1: left, top, right, bottom.
        offset: Row and column of its first patch among those of all crops; None for the whole beside the others.
        name: As in ``r0c1``; empty where it is the only one.
    """

    pixels: Float[np.ndarray, "height width 3"]
    prefix: tuple[str, ...]
    rows: int
    columns: int
    patch: tuple[int, int]
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    offset: tuple[int, int] | None = (0, 0)
    name: str = ""


@dataclass(frozen=True)
class Seen:
    """What the model sees of a picture.

    Attributes:
        shown: The picture that the tokens are drawn on.
        crops: In the order of the tower's tokens; empty where they cannot be told.
        block: Rows and columns of patches that follow each other before the next such block does; 1 where the patches
            follow each other row by row.
    """

    shown: Image.Image
    crops: tuple[Crop, ...]
    block: int = 1


def see_crops(
    image: Image.Image, arrays: dict[str, np.ndarray], processor: Any, layout: Callable[[int, int], ImageLayout]
) -> Seen:
    """The crops that a processor made of a picture.

    Args:
        image: As the data has it.
        arrays: What the processor made, without the batch axis.
        processor: Of images.
        layout: The tower's tokens of a picture of this height and width in pixels.

    Raises:
        ModelError: The tower's tokens are no grid.
    """
    if "image_grid_thw" in arrays:
        return _flat(image, arrays, processor)
    pixels = arrays["pixel_values"]
    if pixels.ndim == 3:
        pixels = pixels[None]
    height, width = pixels.shape[-2:]
    tokens = layout(height, width)
    seen = [undo_normalisation(each, processor) for each in pixels]
    about = dict(
        prefix=tokens.prefix, rows=tokens.rows, columns=tokens.columns, patch=(tokens.patch_height, tokens.patch_width)
    )
    if len(pixels) == 1:
        return Seen(_as_image(seen[0]), (Crop(seen[0], **about),))
    down, across = _crop_grid(image, processor)
    if down * across + 1 != len(pixels):
        return Seen(image, ())
    crops = []
    for row, column in np.ndindex(down, across):
        box = (column / across, row / down, (column + 1) / across, (row + 1) / down)
        offset = (row * tokens.rows, column * tokens.columns)
        crops.append(Crop(seen[len(crops)], **about, box=box, offset=offset, name=f"r{row}c{column}"))
    crops.append(Crop(seen[-1], **about, offset=None, name=WHOLE))
    return Seen(image, tuple(crops))


def _flat(image: Image.Image, arrays: dict[str, np.ndarray], processor: Any) -> Seen:
    """Pixels that come as a list of patches, with the grid beside it: time, rows and columns."""
    _, rows, columns = np.ravel(arrays["image_grid_thw"]).tolist()
    patch = int(processor.patch_size)
    shown = image.convert("RGB").resize((columns * patch, rows * patch), Image.Resampling.BICUBIC)
    pixels = np.asarray(shown, dtype=np.float32) / 255
    return Seen(shown, (Crop(pixels, (), rows, columns, (patch, patch)),), int(getattr(processor, "merge_size", 1)))


def _crop_grid(image: Image.Image, processor: Any) -> tuple[int, int]:
    """Rows and columns of crops, where the processor tells them; 0 and 0 where it does not."""
    try:
        told = processor(images=[image], return_tensors="np", return_row_col_info=True)
        rows, columns = (int(np.ravel(told[name])[0]) for name in ("rows", "cols"))
    except (KeyError, TypeError, ValueError):
        return 0, 0
    return rows, columns


def tower_tokens(seen: Seen, n_tokens: int) -> pd.DataFrame:
    """One row a token of the vision tower, in its order.

    Args:
        n_tokens: Of the tower, all crops together.
    """
    parts = []
    for crop in seen.crops:
        part = _cells(crop, 1)
        if seen.block > 1:
            part = part.iloc[_in_blocks(crop.rows, crop.columns, seen.block)].reset_index(drop=True)
        parts.append(pd.concat([_prefix(crop), part], ignore_index=True) if crop.prefix else part)
    table = pd.concat(parts, ignore_index=True) if parts else _nowhere(n_tokens)
    return table if len(table) == n_tokens else _nowhere(n_tokens)


def language_tokens(seen: Seen, n_tokens: int) -> pd.DataFrame:
    """One row a token of the picture in the language model, in order; without a place where it cannot be told."""
    n_crops = len(seen.crops)
    if not n_crops or n_tokens % n_crops:
        return _nowhere(n_tokens)
    parts = []
    for crop in seen.crops:
        merged = math.isqrt(max(crop.rows * crop.columns // max(n_tokens // n_crops, 1), 1))
        if crop.rows % merged or crop.columns % merged:
            return _nowhere(n_tokens)
        parts.append(_cells(crop, merged))
    table = pd.concat(parts, ignore_index=True)
    return table if len(table) == n_tokens else _nowhere(n_tokens)


def _cells(crop: Crop, merged: int) -> pd.DataFrame:
    """The cells of a crop row by row, each of `merged` x `merged` patches."""
    rows, columns = crop.rows // merged, crop.columns // merged
    row, column = (index.ravel() for index in np.indices((rows, columns)))
    left, top, right, bottom = crop.box
    wide, high = (right - left) / columns, (bottom - top) / rows
    place = crop.offset is not None
    down, across = (0, 0) if crop.offset is None else (each // merged for each in crop.offset)
    said = f"{WHOLE} " if crop.name == WHOLE else ""
    height, width = (each * merged for each in crop.patch)
    return pd.DataFrame(
        {
            "text": [f"{said}r{r + down}c{c + across}" for r, c in zip(row, column)],
            "is_special": False,
            "row": row + down if place else -1,
            "column": column + across if place else -1,
            "crop": crop.name,
            "left": left + column * wide, "top": top + row * high,
            "right": left + (column + 1) * wide, "bottom": top + (row + 1) * high,
            **describe_patches(crop.pixels, rows, columns, height, width),
        }
    )  # fmt: skip


def _prefix(crop: Crop) -> pd.DataFrame:
    said = f"{crop.name} " if crop.name else ""
    names = [f"{said}{name}" for name in crop.prefix]
    return _nowhere(len(names)).assign(text=names, is_special=True, crop=crop.name)


def _nowhere(n_tokens: int) -> pd.DataFrame:
    columns = [*BOX, "hue", "saturation", "luminance", "edge_energy"]
    return pd.DataFrame(
        {
            "text": [f"image {index}" for index in range(n_tokens)],
            "is_special": False, "row": -1, "column": -1, "crop": "", **dict.fromkeys(columns, np.nan),
        }
    )  # fmt: skip


def _in_blocks(rows: int, columns: int, block: int) -> np.ndarray:
    """Cells, numbered row by row, in the order of blocks of `block` x `block` cells, each row by row within."""
    numbers = np.arange(rows * columns).reshape(rows // block, block, columns // block, block)
    return numbers.transpose(0, 2, 1, 3).ravel()


def _as_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))

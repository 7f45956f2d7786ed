"""Colour, light and edges of image patches, and the object each patch shows: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Inexact, Int

from analysis.inputs.records import CATEGORICAL, CYCLIC, SEQUENTIAL, ColumnInfo

GREY = 0.01
"""Below this mean saturation-weighted resultant a patch has no hue: its colours are grey or cancel out."""

LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)
"""Rec. ITU-R BT.709, applied to the sRGB values as the model gets them (luma)."""

PATCH_COLUMNS = [
    ColumnInfo("row", SEQUENTIAL, "patches", "Patch row, the top being 0."),
    ColumnInfo("column", SEQUENTIAL, "patches", "Patch column, the left being 0."),
    ColumnInfo("hue", CYCLIC, "degrees", "Mean hue, 0 red, 120 green, 240 blue, weighted by saturation; none in grey."),
    ColumnInfo("saturation", SEQUENTIAL, "0 to 1", "Mean saturation: 0 grey, 1 pure colour."),
    ColumnInfo("luminance", SEQUENTIAL, "0 to 1", "Mean lightness: 0 black, 1 white."),
    ColumnInfo("edge_energy", SEQUENTIAL, "luminance per pixel", "Mean slope of luminance: high on edges and texture."),
    ColumnInfo("object", CATEGORICAL, "", "The object that covers most of the patch, by the masks of the data."),
]  # fmt: skip


def describe_patches(
    seen: Float[np.ndarray, "height width 3"], rows: int, columns: int, patch_height: int, patch_width: int
) -> dict[str, Float[np.ndarray, " patch"]]:
    """Mean hue, saturation, luminance and edge energy of every patch.

    Args:
        seen: The image as the model sees it, before normalisation, 0 to 1.
        rows: Patch rows; pixels beyond the last patch are left out.
        columns: Patch columns.
        patch_height: Pixels.
        patch_width: Pixels.

    Returns:
        ``hue`` in degrees, 0 to 360 (the circular mean of HSV hue weighted by saturation; NaN where there is none),
        ``saturation`` (HSV) and ``luminance`` 0 to 1, ``edge_energy`` (mean length of the luminance gradient by
        central differences, per pixel), each in row-major order.
    """
    grid = (rows, columns, patch_height, patch_width)
    hue, saturation = hue_and_saturation(seen)
    luminance = seen @ np.array(LUMINANCE_WEIGHTS)
    direction = patch_means(saturation * np.exp(1j * np.deg2rad(hue)), *grid)
    slope = np.hypot(*np.gradient(luminance)) if min(luminance.shape) > 1 else np.zeros_like(luminance)
    mean_hue = np.where(np.abs(direction) < GREY, np.nan, np.rad2deg(np.angle(direction)) % 360)
    return {
        "hue": mean_hue.astype(np.float32),
        "saturation": patch_means(saturation, *grid).astype(np.float32),
        "luminance": patch_means(luminance, *grid).astype(np.float32),
        "edge_energy": patch_means(slope, *grid).astype(np.float32),
    }


def main_objects(
    mask: Int[np.ndarray, "height width"],
    names: Mapping[int, str],
    rows: int,
    columns: int,
    patch_height: int,
    patch_width: int,
) -> list[str]:
    """Name of the object that covers most of each patch; of equal ones the lower number.

    Args:
        mask: Object number of each pixel the model sees, 0 for the background.
        names: Object number to name; one that is missing is called ``object 3``, or ``background``.
        rows: As in `describe_patches`, with the next three.
    """
    numbers = np.unique(mask)
    cover = np.stack([patch_means(mask == number, rows, columns, patch_height, patch_width) for number in numbers])
    default = {0: "background"}
    return [names.get(int(n)) or default.get(int(n)) or f"object {n}" for n in numbers[cover.argmax(axis=0)]]


def hue_and_saturation(
    seen: Float[np.ndarray, "height width 3"],
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """HSV hue in degrees (0 where grey) and saturation, 0 to 1."""
    red, green, blue = np.moveaxis(seen.astype(np.float64), -1, 0)
    high, low = seen.max(axis=-1).astype(np.float64), seen.min(axis=-1).astype(np.float64)
    spread = high - low
    safe = np.where(spread > 0, spread, 1)
    sector = np.select(
        [spread == 0, high == red, high == green],
        [0, (green - blue) / safe % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    return sector * 60, spread / np.where(high > 0, high, 1)


def patch_means(
    values: np.ndarray, rows: int, columns: int, patch_height: int, patch_width: int
) -> Inexact[np.ndarray, " patch"]:
    """Mean over each patch, row by row; a model that pads the image sees its edge repeated here."""
    height, width = rows * patch_height, columns * patch_width
    missing = [(0, max(0, height - values.shape[0])), (0, max(0, width - values.shape[1]))]
    whole = np.pad(values, missing, mode="edge")[:height, :width]
    return whole.reshape(rows, patch_height, columns, patch_width).mean(axis=(1, 3)).ravel()

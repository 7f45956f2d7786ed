"""Open images that strangers made: type by content, size before decoding, every odd mode to upright 8-bit RGB."""

from __future__ import annotations

import io
import warnings

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageOps

from analysis.inputs.records import Unreadable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 20_000_000
MAX_ASPECT = 100
"""Longest side over shortest. Processors that scale the short side would blow a thin strip up to gigapixels."""


def check_image(content: bytes) -> None:
    """Look at the header only: one of `FORMATS` by content, at most `MAX_PIXELS`, not a strip.

    Raises:
        Unreadable: It is not.
    """
    _open_checked(content).close()


def open_image(content: bytes) -> Image.Image:
    """Decode to upright 8-bit RGB: first frame, EXIF turn applied, transparency over white, 16 bits scaled to 8.

    Raises:
        Unreadable: As `check_image`, or the pixels are damaged.
    """
    image = _open_checked(content)
    try:
        return _to_rgb(_load_upright(image))
    except Exception as error:  # a damaged file makes the decoders raise almost anything
        raise _damaged(error) from error


def open_mask(content: bytes) -> Int[np.ndarray, "height width"]:
    """Decode an image of object numbers; palette images give their indices, not their colours.

    Raises:
        Unreadable: As `open_image`, or the image has colours instead of numbers.
    """
    image = _open_checked(content)
    try:
        image = _load_upright(image)
    except Exception as error:  # as in open_image
        raise _damaged(error) from error
    if image.mode not in ("L", "P", "1", "I", "I;16"):
        raise Unreadable(f"a mask holds one object number a pixel (8-bit greyscale); this one is {image.mode}")
    return np.asarray(image).astype(np.int64)


def _open_checked(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Unreadable(f"more than {MAX_PIXELS / 1e6:.0f} megapixels; make it smaller") from error
    except Image.UnidentifiedImageError as error:
        raise Unreadable(f"not an image of a known kind by its content ({', '.join(FORMATS)})") from error
    except Exception as error:  # a damaged header makes the parsers raise almost anything
        raise _damaged(error) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Unreadable(
            f"{width * height / 1e6:,.1f} megapixels; at most {MAX_PIXELS / 1e6:.0f} are read, make it smaller"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Unreadable(f"{width} x {height} pixels is a strip; sides may differ by {MAX_ASPECT} times at most")
    return image


def _load_upright(image: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()
        return ImageOps.exif_transpose(image)


def _damaged(error: Exception) -> Unreadable:
    return Unreadable(f"the image is damaged ({str(error)[:100] or type(error).__name__})")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels; save as 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(values / (257 if values.max() > 255 else 1), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")

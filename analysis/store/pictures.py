"""Pictures in a run's file, which anybody may have made: PNG and nothing else reaches who decodes them."""

from __future__ import annotations

import struct

from analysis.errors import RunError

MAX_PIXELS = 100_000_000
"""Of a sprite of thumbnails; an image of the data has 20 million at most."""

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def checked_png(content: object, what: str) -> bytes:
    """The bytes of a PNG, by its first bytes: a decoder asked to open anything would hand PostScript to Ghostscript.

    Args:
        what: As in ``The image of input 3``.

    Raises:
        RunError: Of another kind, or larger than `MAX_PIXELS`.
    """
    found = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else b""
    if not found.startswith(_START) or len(found) < len(_START) + 8:
        raise RunError(f"{what} is no PNG in the file of the run: run verify on it.")
    width, height = struct.unpack_from(">II", found, len(_START))
    if width * height > MAX_PIXELS:
        raise RunError(f"{what} claims {width:,} x {height:,} pixels in the file of the run: it is not decoded.")
    return found

"""Arrays to blobs and back: fp16 vectors and attention without its masked cells.

The range of fp16 is 6e-8 to 65504. Vectors with a value beyond it are kept as fp32 instead, blob by blob; a reader
knows by the length of the blob.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float16

from analysis.errors import RunError

_HALF = np.dtype("<f2")
_SINGLE = np.dtype("<f4")
_NOT_FINITE = 0x7C00
_INLINE = 12
_VIEW = np.dtype([("bytes", "<i4"), ("prefix", "<u4"), ("buffer", "<i4"), ("start", "<i4")])
"""Arrow's variable-size binary view layout; up to `_INLINE` bytes stand in the view itself."""


def pack_rows(
    arrays: Sequence[Float[np.ndarray, "row token width"]],
    name: str,
    groups: Sequence[int] | None = None,
    offsets: Sequence[Float[np.ndarray, "row width"]] | None = None,
) -> pa.Array:
    """Blobs of fp16, one per row of each array, as one Arrow column. Each number is read once and written once.

    Args:
        arrays: Each gives as many blobs as it has rows.
        name: What the arrays are, for the message.
        groups: For each array, how many rows of the column one of its rows stands for: the blob is followed by that
            many nulls less one (keys that several query heads share). Without it, 1.
        offsets: For each array, what to subtract from every token of a row before rounding.

    Returns:
        The blobs, in order. Those of an array with a value beyond the range of fp16 are fp32.

    Raises:
        NotFinite: NaN or infinity.
    """
    whole = np.empty(sum(array.size for array in arrays), dtype=_HALF)
    packed, start, is_wide = [], 0, False
    for place, array in enumerate(arrays):
        half = whole[start : start + array.size].reshape(array.shape)
        start += array.size
        offset = None if offsets is None else offsets[place][:, None, :]
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(half, array, casting="same_kind") if offset is None else np.subtract(array, offset, out=half)
        if _goes_beyond(half):
            single = np.ascontiguousarray(array if offset is None else array - offset, dtype=_SINGLE)
            if not np.isfinite(single).all():
                raise NotFinite(place, name)
            half, is_wide = single, True
        packed.append(half)
    return _binary(packed, groups or [1] * len(packed), None if is_wide else whole)


def view_rows(arrays: Sequence[Float16[np.ndarray, "row token width"]], groups: Sequence[int]) -> pa.Array | None:
    """Blobs of arrays that are rounded already, as one Arrow column that copies no vector.

    Args:
        arrays: As in `pack_rows`, of fp16 and known to be finite.
        groups: As in `pack_rows`.

    Returns:
        The blobs, in order, looking into the memory of the arrays; None where Arrow's layout for that does not fit
        them (rows of up to 12 bytes are no views there, nor rows that are not in one piece).
    """
    views = np.zeros(sum(len(array) * group for array, group in zip(arrays, groups)), dtype=_VIEW)
    is_there = np.zeros(len(views), dtype=bool)
    buffers: dict[int, tuple[int, int, pa.Buffer]] = {}
    start = 0
    for array, group in zip(arrays, groups, strict=True):
        row_bytes = array[0].nbytes
        root = array if array.base is None else array.base
        in_one_piece = isinstance(root, np.ndarray) and root.flags.c_contiguous and array[0].flags.c_contiguous
        if not in_one_piece or row_bytes <= _INLINE or array.shape[2] < 2 or root.nbytes >= 2**31:
            return None
        if id(root) not in buffers:
            buffers[id(root)] = len(buffers), root.__array_interface__["data"][0], pa.py_buffer(root)
        index, address, _ = buffers[id(root)]
        rows = slice(start, start + len(array) * group, group)
        views["bytes"][rows], views["buffer"][rows] = row_bytes, index
        views["start"][rows] = array.__array_interface__["data"][0] - address + array.strides[0] * np.arange(len(array))
        views["prefix"][rows] = np.ascontiguousarray(array[:, 0, :2]).view("<u4")[:, 0]
        is_there[rows] = True
        start += len(array) * group
    valid = None if is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))
    data = [buffer for _, _, buffer in buffers.values()]
    return pa.Array.from_buffers(pa.binary_view(), len(views), [valid, pa.py_buffer(views), *data])


class NotFinite(RunError):
    """An array holds NaN or infinity.

    Attributes:
        place: Which of the arrays given.
        name: What they are.
    """

    def __init__(self, place: int, name: str) -> None:
        super().__init__(f"The {name} hold NaN or infinity (array {place}).")
        self.place, self.name = place, name


def unpack_rows(blobs: Sequence[bytes], n_tokens: Sequence[int], width: int) -> Float[np.ndarray, "point width"]:
    """The rows of all blobs under each other, as float32.

    Raises:
        RunError: A blob is not as long as its tokens ask for.
    """
    total = sum(n_tokens) * width
    joined = b"".join(blobs)
    if len(joined) == total * _HALF.itemsize:
        return np.frombuffer(joined, dtype=_HALF).astype(np.float32).reshape(-1, width)
    out = np.empty((sum(n_tokens), width), dtype=np.float32)
    row = 0
    for blob, count in zip(blobs, n_tokens, strict=True):
        out[row : row + count] = _unpack_one(blob, count * width).reshape(count, width)
        row += count
    return out


def pack_attention(
    attention: Float[np.ndarray, "head query key"], allowed: Bool[np.ndarray, "query key"] | None
) -> Float[np.ndarray, "head 1 cell"]:
    """Attention as rows for `pack_rows`: the allowed cells only, row by row; all cells when `allowed` is None."""
    cells = attention.reshape(len(attention), -1) if allowed is None else attention[:, allowed]
    return cells[:, None, :]


def unpack_attention(blob: bytes, allowed: Bool[np.ndarray, "query key"]) -> Float[np.ndarray, "query key"]:
    """The inverse of `pack_attention` for one head: 0 in the masked cells."""
    out = np.zeros(allowed.shape, dtype=np.float32)
    out[allowed] = _unpack_one(blob, int(allowed.sum()))
    return out


def _unpack_one(blob: bytes, size: int) -> Float[np.ndarray, " number"]:
    for kind in (_HALF, _SINGLE):
        if len(blob) == size * kind.itemsize:
            return np.frombuffer(blob, dtype=kind).astype(np.float32)
    raise RunError(f"The run is damaged: {size} numbers were expected and {len(blob)} bytes came; run verify on it.")


def _goes_beyond(half: np.ndarray) -> bool:
    # Infinity and NaN have the largest patterns of their sign: two maxima find both, faster than looking at each.
    largest, negative = half.view(np.int16).max(initial=0), half.view(np.uint16).max(initial=0)
    return largest >= _NOT_FINITE or negative >= _NOT_FINITE | 0x8000


def _binary(arrays: Sequence[np.ndarray], groups: Sequence[int], whole: np.ndarray | None) -> pa.Array:
    sizes, present = [], []
    for array, group in zip(arrays, groups, strict=True):
        row_bytes = array[0].nbytes if len(array) else 0
        sizes += [row_bytes, *[0] * (group - 1)] * len(array)
        present += [True, *[False] * (group - 1)] * len(array)
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    data = whole if whole is not None else np.concatenate([array.reshape(-1).view(np.uint8) for array in arrays])
    valid = None if all(present) else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(pa.large_binary(), len(sizes), [valid, pa.py_buffer(offsets), pa.py_buffer(data)])

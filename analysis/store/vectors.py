"""A batch of captures as rows of the tables `vectors`, `attention` and `masks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from analysis.errors import RunError
from analysis.store.packing import NotFinite, pack_attention, pack_rows, view_rows
from analysis.types import Band, SiteCapture

KEPT_CELLS = 2**20
"""The mask that a band tells is kept for further inputs of one length where it is no larger than this."""


def vector_rows(
    captures: Sequence[SiteCapture], key_offsets: Mapping[str, Float[np.ndarray, "kv_head d_head"]]
) -> pa.Table | None:
    """One row per input, site and head: q on every row, k and value norms on the first head of each group; none for
    sites that have attention alone.

    Raises:
        RunError: NaN or infinity, with the site and the input.
    """
    captures = [capture for capture in captures if capture.site.has_vectors]
    if not captures:
        return None
    groups = [capture.site.n_heads // capture.site.n_kv_heads for capture in captures]
    offsets = [key_offsets[capture.site.key] for capture in captures]
    norms = _packed([capture.value_norms[:, :, None] for capture in captures], "value norms", captures, groups)
    queries, keys = ([getattr(capture, name) for capture in captures] for name in ("queries", "keys"))
    q = k = None
    if all(array.dtype == np.float16 for array in (*queries, *keys)):
        q, k = view_rows(queries, [1] * len(queries)), view_rows(keys, groups)
    q = _packed(queries, "queries", captures) if q is None else q
    # Keys that are rounded already are less their offset already.
    offsets = [np.zeros_like(o) if array.dtype == np.float16 else o for o, array in zip(offsets, keys, strict=True)]
    k = _packed(keys, "keys", captures, groups, offsets) if k is None else k
    return pa.table({**_places(captures), "q": q, "k": k, "v_norm": norms})


def attention_rows(captures: Sequence[SiteCapture], chosen: Callable[[SiteCapture], bool]) -> pa.Table | None:
    """One row per input, site and head whose attention is kept: because it is `chosen`, or because q and k would not
    give it back.

    Raises:
        RunError: Attention that has to be kept was not captured.
    """
    kept = []
    for capture in captures:
        needed = capture.must_store or not capture.site.recomputable
        if not needed and not chosen(capture):
            continue
        if capture.attention is None:
            raise RunError(
                f"The attention of {capture.site.key} on input {capture.input_id} has to be stored "
                f"but was not captured; run again with --attention store."
            )
        kept.append(capture)
    if not kept:
        return None
    cells = [pack_attention(capture.attention, None if capture.allowed.all() else capture.allowed) for capture in kept]
    return pa.table({**_places(kept), "weights": _packed(cells, "attention weights", kept)})


def mask_rows(captures: Sequence[SiteCapture]) -> pa.Table | None:
    """One row per input and site whose mask is not the one its band tells: the mask itself, a bit a cell."""
    odd = [capture for capture in captures if not follows_band(capture)]
    if not odd:
        return None
    return pa.table(
        {
            "input_id": np.array([capture.input_id for capture in odd], np.int32),
            "site": np.array([capture.site.index for capture in odd], np.int16),
            "allowed": pa.array([np.packbits(capture.allowed).tobytes() for capture in odd], pa.large_binary()),
        }
    )


def follows_band(capture: SiteCapture) -> bool:
    """True when the site's band gives the mask of this input."""
    band, allowed = capture.site.band, capture.allowed
    if band is None or allowed.size > KEPT_CELLS:
        return band is not None and band.describes(allowed)
    return np.array_equal(_band_mask(band, *allowed.shape), allowed)


@lru_cache(maxsize=32)
def _band_mask(band: Band, n_queries: int, n_keys: int) -> Bool[np.ndarray, "query key"]:
    return band.allowed(n_queries, n_keys)


def _places(captures: Sequence[SiteCapture]) -> dict[str, np.ndarray]:
    n_heads = [capture.site.n_heads for capture in captures]
    return {
        "input_id": np.repeat(np.array([capture.input_id for capture in captures], np.int32), n_heads),
        "site": np.repeat(np.array([capture.site.index for capture in captures], np.int16), n_heads),
        "head": np.concatenate([np.arange(n, dtype=np.int16) for n in n_heads]),
    }


def _packed(
    arrays: Sequence[np.ndarray],
    name: str,
    captures: Sequence[SiteCapture],
    groups: Sequence[int] | None = None,
    offsets: Sequence[np.ndarray] | None = None,
) -> pa.Array:
    try:
        return pack_rows(arrays, name, groups, offsets)
    except NotFinite as error:
        capture = captures[error.place]
        raise RunError(
            f"The {name} of {capture.site.key} on input {capture.input_id} hold NaN or infinity: the model overflows "
            "there; try --dtype float32 or leave that input out."
        ) from error

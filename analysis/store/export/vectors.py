"""Queries, keys and value norms of an export: rows of Parquet files, tensors of safetensors files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from analysis.store.export.attention import lists_of
from analysis.store.run import Run
from analysis.types import Site

_HALF_MAX = 65504


def vector_schema(run: Run, site: Site) -> pa.Schema:
    """Columns of a Parquet file of vectors: 16-bit floats, 32-bit where a value is out of their range."""
    is_wide = max(np.abs(array).max(initial=0) for array in _all_heads(run, site)) > _HALF_MAX
    vector = pa.list_(pa.float32() if is_wide else pa.float16())
    whole = [("head", pa.int16()), ("kv_head", pa.int16()), ("input_id", pa.int32()), ("position", pa.int32())]
    return pa.schema([*whole, ("q", vector), ("k", vector), ("v_norm", pa.float32())])


def vector_rows(run: Run, site: Site) -> Iterator[pa.Table]:
    """The rows of a site, a head at a time; keys and value norms once for heads that share them."""
    schema, tokens = vector_schema(run, site), run.tokens()
    kind, sides = schema.field("q").type.value_type, (run.query_rows(site), run.key_rows(site))
    rows = np.union1d(*sides)
    at = [_places(rows, side) for side in sides]
    for head in range(site.n_heads):
        is_first = head in _first_heads(site)
        nothing = pa.nulls(len(rows))
        columns = [
            np.full(len(rows), head, np.int16),
            np.full(len(rows), site.kv_head(head), np.int16),
            tokens["input_id"].to_numpy(np.int32)[rows],
            tokens["position"].to_numpy(np.int32)[rows],
            lists_of(run.queries(site, head), kind).take(at[0]),
            lists_of(run.centred_keys(site, head), kind).take(at[1])
            if is_first
            else nothing.cast(schema.field("k").type),
            pa.array(run.value_norms(site, head)).take(at[1]) if is_first else nothing.cast(pa.float32()),
        ]
        yield pa.table(columns, schema=schema)


def _places(rows: np.ndarray, side: np.ndarray) -> pa.Array:
    """Where each of the rows is among those of one side; null where it is not."""
    at = np.searchsorted(side, rows)
    return pa.array(at, mask=~np.isin(rows, side))


def offset_rows(run: Run, site: Site) -> Iterator[dict]:
    """What was subtracted from the keys of a site: a row a key head."""
    for kv_head, offset in enumerate(run.key_offset(site)):
        yield {"site": site.index, "kv_head": kv_head, "key_offset": offset.tolist()}


def vector_tensors(run: Run, site: Site) -> dict[str, np.ndarray]:
    """``q`` ``[head, token, d_head]``, ``k`` ``[kv_head, token, d_head]``, ``key_offset``, ``value_norms`` and, where
    a head has one, ``sink_logits``."""
    queries, keys = _all_heads(run, site)
    logits = run.sink_logits(site)
    return {
        "q": _narrow(queries),
        "k": _narrow(keys),
        "key_offset": run.key_offset(site),
        "value_norms": np.stack([run.value_norms(site, head) for head in _first_heads(site)]),
        **({} if logits is None else {"sink_logits": logits}),
    }


def _all_heads(run: Run, site: Site) -> tuple[np.ndarray, np.ndarray]:
    queries = np.stack([run.queries(site, head) for head in range(site.n_heads)])
    return queries, np.stack([run.centred_keys(site, head) for head in _first_heads(site)])


def _first_heads(site: Site) -> range:
    return range(0, site.n_heads, site.n_heads // site.n_kv_heads)


def _narrow(array: np.ndarray) -> np.ndarray:
    return array if np.abs(array).max(initial=0) > _HALF_MAX else array.astype(np.float16)

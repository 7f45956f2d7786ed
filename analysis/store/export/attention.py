"""Attention matrices of an export: of which sites and inputs, whole or the strongest weights of every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from analysis.errors import UserError
from analysis.store.run import Run
from analysis.types import Site

_WEIGHT_BYTES, _STRONGEST_BYTES, _ROW_BYTES = 4, 8, 14

_CHUNK_CELLS = 2**22
"""Weights of one head that are in memory at a time; one input may be more."""


@dataclass(frozen=True)
class AttentionChoice:
    """Which attention goes into an export.

    Attributes:
        sites: Keys or labels of sites; none = all of them.
        inputs: Their ids; None = all of them.
        top_k: So many of the strongest weights of every query; None = all of them.
    """

    sites: Sequence[str] = ()
    inputs: Sequence[int] | None = None
    top_k: int | None = None


@dataclass(frozen=True)
class Matrices:
    """What is to be written of one site: the inputs in order, and how many weights of a row."""

    site: Site
    inputs: tuple[int, ...]
    top_k: int | None = None


@dataclass(frozen=True)
class HeadAttention:
    """One head on one input.

    Attributes:
        queries, keys: Positions, within the input, of rows and columns.
        weights: As `Run.attention` gives them, signed where attention is implicit.
        allowed: Where the query may attend to the key.
    """

    input_id: int
    head: int
    queries: Int[np.ndarray, " query"]
    keys: Int[np.ndarray, " key"]
    weights: Float[np.ndarray, "query key"]
    allowed: Bool[np.ndarray, "query key"]


def matrices_of(run: Run, choice: AttentionChoice | None) -> list[Matrices]:
    """What is to be written: what was chosen, and whole the sites that have attention and nothing else.

    Raises:
        UnknownName: A site that the run has not.
        UserError: An input that it has not, or no weight of a row.
    """
    known = [int(input_id) for input_id in run.inputs()["input_id"]]
    chosen: dict[str, Matrices] = {}
    if choice is not None:
        inputs = known if choice.inputs is None else _known_inputs(choice.inputs, known)
        if choice.top_k is not None and choice.top_k < 1:
            raise UserError(f"The strongest weights of a row are 1 or more; {choice.top_k} were asked for.")
        sites = [run.site(site) for site in choice.sites] or run.sites
        chosen = {site.key: Matrices(site, tuple(inputs), choice.top_k) for site in sites}
    alone = {site.key: Matrices(site, tuple(known)) for site in run.sites if not site.has_vectors}
    found = {**alone, **chosen}
    return [found[site.key] for site in run.sites if site.key in found]


def largest_bytes(run: Run, matrices: Sequence[Matrices]) -> int:
    """Bytes that these take before they are compressed: what they can take at most."""
    total = 0
    for each in matrices:
        n_queries, n_keys = (
            run.lengths_of(sequence, each.inputs) for sequence in (each.site.query_sequence, each.site.key_sequence)
        )
        for input_id in each.inputs:
            n = n_keys[input_id]
            row = n * _WEIGHT_BYTES if each.top_k is None else min(n, each.top_k) * _STRONGEST_BYTES
            total += each.site.n_heads * n_queries[input_id] * (row + _ROW_BYTES)
    return total


def heads_of(run: Run, matrices: Matrices) -> Iterator[HeadAttention]:
    """Every head on every input: some inputs at a time, of these head by head, as they are read fastest."""
    site = matrices.site
    for inputs in _chunks(run, matrices):
        allowed = run.allowed_by_input(site, inputs)
        places = [(run.query_positions(site, each), run.key_positions(site, each)) for each in inputs]
        for head in range(site.n_heads):
            weights = run.attention_by_input(site, head, inputs)
            for input_id, (queries, keys), mask, one in zip(inputs, places, allowed, weights, strict=True):
                yield HeadAttention(input_id, head, queries, keys, one, mask)


def _chunks(run: Run, matrices: Matrices) -> Iterator[list[int]]:
    """The inputs in order, as many at a time as stay under `_CHUNK_CELLS` for a head, and one at least."""
    site = matrices.site
    n_queries, n_keys = (run.lengths_of(name, matrices.inputs) for name in (site.query_sequence, site.key_sequence))
    chunk: list[int] = []
    n_cells = 0
    for input_id in matrices.inputs:
        n = n_queries[input_id] * n_keys[input_id]
        if chunk and n_cells + n > _CHUNK_CELLS:
            yield chunk
            chunk, n_cells = [], 0
        chunk.append(input_id)
        n_cells += n
    if chunk:
        yield chunk


@dataclass(frozen=True)
class Strongest:
    """The strongest weights of every query, by falling size; equal ones by position.

    Attributes:
        columns: Of the matrix, ``[query, k]``; k is `top_k`, or the number of keys where there are fewer.
        weights: The weights there.
        counts: How many of a row count: a query that may attend to fewer keys has fewer.
        retained: Their share of the row's whole weight, 0 to 1 (of its absolute weight where attention is signed);
            NaN where a query attends to nothing.
    """

    columns: Int[np.ndarray, "query k"]
    weights: Float[np.ndarray, "query k"]
    counts: Int[np.ndarray, " query"]
    retained: Float[np.ndarray, " query"]


def strongest(weights: Float[np.ndarray, "query key"], allowed: Bool[np.ndarray, "query key"], top_k: int) -> Strongest:
    """Keep `top_k` weights a query.

    Args:
        weights: Finite; signed or not.
        allowed: Keys that are not allowed are never kept.
    """
    size = np.where(allowed, np.abs(weights), np.float32(-1))
    k = min(top_k, weights.shape[1])
    columns = np.argsort(-size, axis=1, kind="stable")[:, :k]
    counts = np.minimum(allowed.sum(axis=1), k)
    kept = np.where(np.arange(k) < counts[:, None], np.take_along_axis(size, columns, axis=1), 0)
    whole = np.where(allowed, size, 0).sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        retained = np.where(whole > 0, kept.sum(axis=1, dtype=np.float64) / whole, np.nan)
    return Strongest(columns, np.take_along_axis(weights, columns, axis=1), counts, np.minimum(retained, 1))


def arrow_schema(matrices: Matrices) -> pa.Schema:
    """Columns of a Parquet file of attention, a row a head and query."""
    whole = [("head", pa.int16()), ("input_id", pa.int32()), ("position", pa.int32())]
    if matrices.top_k is None:
        return pa.schema([*whole, ("weights", pa.list_(pa.float32()))])
    lists = [("key_positions", pa.list_(pa.int32())), ("weights", pa.list_(pa.float32()))]
    return pa.schema([*whole, *lists, ("retained", pa.float32())])


def arrow_rows(matrices: Matrices, one: HeadAttention) -> pa.Table:
    """The rows of one head on one input."""
    n = len(one.queries)
    columns = [np.full(n, one.head, np.int16), np.full(n, one.input_id, np.int32), one.queries.astype(np.int32)]
    if matrices.top_k is None:
        return pa.table([*columns, lists_of(one.weights, pa.float32())], schema=arrow_schema(matrices))
    found = strongest(one.weights, one.allowed, matrices.top_k)
    is_kept = np.arange(found.columns.shape[1]) < found.counts[:, None]
    offsets = pa.array(np.concatenate([[0], np.cumsum(found.counts)]).astype(np.int32))
    keys = pa.array(one.keys[found.columns[is_kept]].astype(np.int32))
    weights = pa.array(found.weights[is_kept].astype(np.float32))
    lists = [pa.ListArray.from_arrays(offsets, values) for values in (keys, weights)]
    retained = pa.array(found.retained.astype(np.float32), mask=np.isnan(found.retained))
    return pa.table([*columns, *lists, retained], schema=arrow_schema(matrices))


def cell_rows(matrices: Matrices, one: HeadAttention) -> pa.Table:
    """The same as one row a weight, for formats without lists: keys that a query may not attend to have none."""
    retained = {}
    if matrices.top_k is None:
        rows, columns = np.nonzero(one.allowed)
    else:
        found = strongest(one.weights, one.allowed, matrices.top_k)
        rows, places = np.nonzero(np.arange(found.columns.shape[1]) < found.counts[:, None])
        columns = found.columns[rows, places]
        retained = {"retained": found.retained[rows].astype(np.float32)}
    return pa.table(
        {
            "head": np.full(len(rows), one.head, np.int16),
            "input_id": np.full(len(rows), one.input_id, np.int32),
            "position": one.queries[rows].astype(np.int32),
            "key_position": one.keys[columns].astype(np.int32),
            "weight": one.weights[rows, columns].astype(np.float32),
            **retained,
        }
    )


def tensors_of(matrices: Matrices, every: Sequence[HeadAttention]) -> dict[str, np.ndarray]:
    """All heads, in order, on one input as tensors, named by the input.

    Returns:
        ``attention.ID`` ``[head, query, key]``; or of the strongest ``key_positions.ID`` and ``weights.ID``
        ``[head, query, k]``, -1 and 0 where a row has fewer, and ``retained.ID`` ``[head, query]``.
    """
    input_id = every[0].input_id
    if matrices.top_k is None:
        return {f"attention.{input_id}": np.stack([one.weights for one in every])}
    found = [strongest(one.weights, one.allowed, matrices.top_k) for one in every]
    is_kept = [np.arange(each.columns.shape[1]) < each.counts[:, None] for each in found]
    keys = [np.where(kept, every[0].keys[each.columns], -1) for each, kept in zip(found, is_kept)]
    weights = [np.where(kept, each.weights, 0) for each, kept in zip(found, is_kept)]
    return {
        f"key_positions.{input_id}": np.stack(keys).astype(np.int32),
        f"weights.{input_id}": np.stack(weights).astype(np.float32),
        f"retained.{input_id}": np.stack([each.retained for each in found]).astype(np.float32),
    }


def lists_of(rows: Float[np.ndarray, "row width"], kind: pa.DataType) -> pa.ListArray:
    """A list of numbers a row, all of one length."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    values = pa.array(rows.reshape(-1).astype(kind.to_pandas_dtype()), type=kind)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _known_inputs(asked: Sequence[int], known: Sequence[int]) -> list[int]:
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise UserError(f"There is no input {unknown[0]}: the run has {len(known):,}, {known[0]} to {known[-1]}.")
    return [input_id for input_id in known if input_id in set(asked)]

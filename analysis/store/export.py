"""A run as files for analysis elsewhere: Parquet, CSV, safetensors."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float

from analysis.errors import RunError, UnknownName, UserError
from analysis.store.frames import arrow_table
from analysis.store.run import Run
from analysis.types import VISION_AND_TEXT, Site

_HALF_MAX = 65504

_README = """A run of QK Atlas: {run_id} ({model} on {data}).

manifest.json   what made the run
inputs, tokens  one row an input, one row a token; a token's place in them is its point in every vector
sites           one row an attention call: its heads, its scale and its mask (band_left, band_right; empty = unbounded);
                where an input is two sequences (the column sequence of tokens), query_sequence and key_sequence say
                whose tokens its queries and its keys are, in token-table order
head_scores, head_input_scores, head_profiles, head_places, token_scores   as in the app
sinks           which tokens swallow attention, one row a site, head and position, class or string of the token
sink_cuts       what each measure was on an input before and after sinks were cut, one row a cut, input and measure
coordinates, fidelity, projections   the maps, as in the app
{vectors}
Sites whose d_head is 0 have attention alone: in attention/ (parquet) or in their own file (safetensors). Where their
route is implicit it is that of a state-space layer: signed, and rows do not sum to 1.
Queries and keys are after rotary embedding. From every key the head's key_offset was subtracted, which leaves the
softmax as it is: add it back for the keys themselves. Heads that share keys (n_kv_heads < n_heads) have theirs once.
"""


def export_run(run: Run, folder: str | Path, format: str) -> Path:
    """Write a run as files that other tools read.

    Args:
        run: An open run.
        folder: Where; made when missing, and must be empty. It is there whole or not at all.
        format: ``parquet`` (every table, vectors as lists of 16-bit floats, a file a site), ``csv`` (every table) or
            ``safetensors`` (``q``, ``k``, ``key_offset``, ``value_norms`` a file a site, beside the tables in Parquet).

    Returns:
        The folder.

    Raises:
        UserError: The format is unknown or not available yet, or the folder is in use.
    """
    if format == "bundle":
        raise UserError("The bundle format is not available yet: use parquet, csv or safetensors.")
    if format not in _FORMATS:
        raise UnknownName(f"There is no format {format!r}; known: {', '.join(_FORMATS)}.")
    target = Path(folder).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target.name!r} is not empty: choose a new or empty folder for the export.")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.writing")
    try:
        temporary.mkdir(parents=True)
        try:
            _FORMATS[format](run, temporary)
            # Takes the place of an empty folder, and of nothing else.
            os.rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise RunError(f"The export to {target.name!r} failed ({error.strerror or error}).") from error
    return target


def _write_parquet(run: Run, folder: Path) -> None:
    from pyarrow import parquet

    def write(rows: pa.Table, name: str) -> None:
        parquet.write_table(rows, folder / f"{name}.parquet", compression="zstd")

    _write_tables(run, write)
    if offsets := [row for site in run.mapped_sites for row in _offset_rows(run, site)]:
        write(pa.Table.from_pylist(offsets), "key_offsets")
    for site in run.sites:
        if not site.has_vectors:
            part = folder / "attention" / f"site={site.index}"
            part.mkdir(parents=True)
            with parquet.ParquetWriter(part / "part-0.parquet", _ATTENTION, compression="zstd") as writer:
                for rows in _attention_rows(run, site):
                    writer.write_table(rows)
            continue
        part = folder / "vectors" / f"site={site.index}"
        part.mkdir(parents=True)
        with parquet.ParquetWriter(part / "part-0.parquet", _vector_schema(run, site), compression="zstd") as writer:
            for rows in _vector_rows(run, site):
                writer.write_table(rows)
    _write_words(run, folder, "vectors/       one row a site, head and token: q, k and v_norm; key_offsets beside it\n")


def _write_csv(run: Run, folder: Path) -> None:
    from pyarrow import csv

    _write_tables(run, lambda rows, name: csv.write_csv(rows, folder / f"{name}.csv"))
    _write_words(run, folder, "Vectors are not in this format: export as parquet or safetensors for them.\n")


def _write_safetensors(run: Run, folder: Path) -> None:
    from pyarrow import parquet
    from safetensors.numpy import save_file

    _write_tables(run, lambda rows, name: parquet.write_table(rows, folder / f"{name}.parquet", compression="zstd"))
    for site in run.sites:
        words = {name: json.dumps(value) for name, value in site.as_dict().items()}
        if not site.has_vectors:
            whole = {f"attention.{input_id}": every for input_id, every in _attention_of(run, site)}
            save_file(whole, folder / f"site-{site.index:03d}.safetensors", metadata=words)
            continue
        queries, keys = _all_heads(run, site)
        norms = np.stack([run.value_norms(site, head) for head in _first_heads(site)])
        tensors = {
            "q": _narrow(queries),
            "k": _narrow(keys),
            "key_offset": run.key_offset(site),
            "value_norms": norms,
            **({"sink_logits": run.sink_logits(site)} if run.sink_logits(site) is not None else {}),
        }
        save_file(tensors, folder / f"site-{site.index:03d}.safetensors", metadata=words)
    _write_words(run, folder, "site-*.safetensors   q [head, token, d_head], k [kv_head, token, d_head], key_offset\n")


_FORMATS: dict[str, Callable[[Run, Path], None]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "safetensors": _write_safetensors,
}


def _write_tables(run: Run, write: Callable[[pa.Table, str], None]) -> None:
    sites = pd.DataFrame([{"site": site.index, **site.as_dict()} for site in run.sites]).drop(columns=["index", "band"])
    bands = [(site.band.left, site.band.right) if site.band else (None, None) for site in run.sites]
    sites["has_band"] = [site.band is not None for site in run.sites]
    sites[["band_left", "band_right"]] = pd.DataFrame(bands, dtype="Int64")
    tables = {
        "sites": sites,
        "inputs": run.inputs(),
        "tokens": run.tokens(),
        "head_scores": run.head_scores(),
        "head_input_scores": run.head_input_scores(),
        "head_profiles": run.head_profiles(),
        "head_places": run.head_places(),
        "token_scores": run.token_scores(),
        "sinks": run.sinks(),
        "sink_cuts": run.sink_cuts(),
        "projections": run.projections(),
        "fidelity": run.fidelity(),
        "coordinates": pd.concat(
            [run.coordinates(projection=name) for name in run.projections()["projection_id"]] or [pd.DataFrame()]
        ),
    }
    for name, frame in tables.items():
        if len(frame):
            write(arrow_table(frame), name)


def _write_words(run: Run, folder: Path, vectors: str) -> None:
    (folder / "manifest.json").write_text(json.dumps(run.manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    facts = {"run_id": run.run_id, "model": run.manifest.get("model"), "data": run.manifest.get("data")}
    (folder / "README.txt").write_text(_README.format(**facts, vectors=vectors), encoding="utf-8")
    if run.modality in ("vision", VISION_AND_TEXT):
        (folder / "images").mkdir()
        for input_id in run.inputs()["input_id"]:
            (folder / "images" / f"{input_id}.png").write_bytes(run.image(int(input_id)))


def _vector_schema(run: Run, site: Site) -> pa.Schema:
    is_wide = max(np.abs(array).max(initial=0) for array in _all_heads(run, site)) > _HALF_MAX
    vector = pa.list_(pa.float32() if is_wide else pa.float16())
    whole = [("head", pa.int16()), ("kv_head", pa.int16()), ("input_id", pa.int32()), ("position", pa.int32())]
    return pa.schema([*whole, ("q", vector), ("k", vector), ("v_norm", pa.float32())])


def _vector_rows(run: Run, site: Site) -> Iterator[pa.Table]:
    schema, tokens = _vector_schema(run, site), run.tokens()
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
            _lists(run.queries(site, head), kind).take(at[0]),
            _lists(run.centred_keys(site, head), kind).take(at[1])
            if is_first
            else nothing.cast(schema.field("k").type),
            pa.array(run.value_norms(site, head)).take(at[1]) if is_first else nothing.cast(pa.float32()),
        ]
        yield pa.table(columns, schema=schema)


_ATTENTION = pa.schema(
    [("head", pa.int16()), ("input_id", pa.int32()), ("position", pa.int32()), ("weights", pa.list_(pa.float32()))]
)
"""A row a head and query: its weight on every key of the input, in order of position."""


def _attention_of(run: Run, site: Site) -> Iterator[tuple[int, Float[np.ndarray, "head query key"]]]:
    for input_id in run.inputs()["input_id"].tolist():
        yield input_id, np.stack([run.attention(site, head, input_id) for head in range(site.n_heads)])


def _attention_rows(run: Run, site: Site) -> Iterator[pa.Table]:
    for input_id, every in _attention_of(run, site):
        positions = run.query_positions(site, input_id)
        for head, weights in enumerate(every):
            n = len(weights)
            columns = [np.full(n, head, np.int16), np.full(n, input_id, np.int32), positions.astype(np.int32)]
            yield pa.table([*columns, _lists(weights, pa.float32())], schema=_ATTENTION)


def _places(rows: np.ndarray, side: np.ndarray) -> pa.Array:
    """Where each of the rows is among those of one side; null where it is not."""
    at = np.searchsorted(side, rows)
    return pa.array(at, mask=~np.isin(rows, side))


def _lists(vectors: Float[np.ndarray, "point d_head"], kind: pa.DataType) -> pa.ListArray:
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    values = pa.array(vectors.reshape(-1).astype(kind.to_pandas_dtype()), type=kind)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _offset_rows(run: Run, site: Site) -> Iterator[dict]:
    for kv_head, offset in enumerate(run.key_offset(site)):
        yield {"site": site.index, "kv_head": kv_head, "key_offset": offset.tolist()}


def _all_heads(run: Run, site: Site) -> tuple[np.ndarray, np.ndarray]:
    queries = np.stack([run.queries(site, head) for head in range(site.n_heads)])
    return queries, np.stack([run.centred_keys(site, head) for head in _first_heads(site)])


def _first_heads(site: Site) -> range:
    return range(0, site.n_heads, site.n_heads // site.n_kv_heads)


def _narrow(array: np.ndarray) -> np.ndarray:
    return array if np.abs(array).max(initial=0) > _HALF_MAX else array.astype(np.float16)

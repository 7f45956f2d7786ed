"""Small plausible runs made without a model, written through `RunWriter`: for tests of whatever reads a run."""

from __future__ import annotations

import io
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.attention import recompute
from analysis.store import RunWriter
from analysis.types import Band, Site, SiteCapture

_NUMBERS = count()
WORDS = "the cat dog Anna gave a red ball to because it was warm and the blue house stands near water .".split()


def make_synthetic_run(
    runs_dir: str | Path,
    run_id: str = "synthetic",
    n_inputs: int = 6,
    n_tokens: int = 9,
    n_layers: int = 2,
    n_heads: int = 3,
    d_head: int = 8,
    modality: str = "text",
    causal: bool = False,
    seed: int = 0,
    with_projection: bool = True,
    n_kv_heads: int | None = None,
    store_attention: bool = False,
) -> Path:
    """Write and publish a run.

    Args:
        n_tokens: Of the longest input; texts vary down to two thirds of it, images are CLS and a square of patches.
        with_projection: With the maps ``atlas-2d`` and ``pca-3d``, their fidelity and thumbnails.
        n_kv_heads: Fewer than `n_heads` for queries that share keys.

    Returns:
        The folder of the run.
    """
    rng = np.random.default_rng(seed)
    sites = make_sites(modality, n_layers, n_heads, n_kv_heads or n_heads, d_head, causal)
    inputs, tokens, columns = make_tables(rng, modality, n_inputs, n_tokens)
    offsets = {site.key: rng.normal(0, 2, (site.n_kv_heads, d_head)).astype(np.float32) for site in sites}
    spec = {"model": "synthetic", "data": "synthetic", "modality": modality, "seed": seed}
    with RunWriter.open(runs_dir, run_id, spec) as writer:
        writer.put_plan(sites, offsets, {}, {"outputs_max_abs_diff": 0.0, "attention_max_abs_diff": {}})
        writer.put_inputs(inputs, tokens, columns)
        for start in range(0, n_inputs, 4):
            batch = inputs.iloc[start : start + 4]
            captures = [
                [make_capture(rng, site, int(i), int(n), offsets[site.key]) for site in sites]
                for i, n in zip(batch["input_id"], batch["n_tokens"])
            ]
            writer.put_batch(captures, input_scores(captures), lambda capture: store_attention)
        writer.put_head_scores(head_scores(rng, sites, n_inputs))
        if with_projection:
            for method, dims in (("atlas", 2), ("pca", 3)):
                add_map(writer, method, dims, sites, len(tokens), seed)
        made = {"model": "synthetic", "model_revision": f"sha256:{seed:064x}", "data": "synthetic"}
        # A minute after the one before, so that the newest run is the last one however fast they are made.
        created = datetime(2020, 1, 1) + next(_NUMBERS) * timedelta(minutes=1)
        return writer.publish({**made, "created": created.isoformat(timespec="seconds")})


def make_sites(modality: str, n_layers: int, n_heads: int, n_kv_heads: int, d_head: int, causal: bool) -> list[Site]:
    """Sites of one stack: an encoder, or with `causal` a decoder."""
    stack = "dec" if causal else "enc"
    return [
        Site(
            index=depth,
            key=f"{stack}oder.layer.{depth}.attention#0",
            label=f"{modality}.{stack}.self.{depth}",
            modality=modality,
            stack=stack,
            role="self",
            depth=depth,
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            d_head=d_head,
            d_value=d_head,
            scale=d_head**-0.5,
            band=Band(right=0) if causal else Band(),
        )
        for depth in range(n_layers)
    ]


def make_capture(
    rng: np.random.Generator, site: Site, input_id: int, n_tokens: int, offset: np.ndarray, sharpness: float = 2.0
) -> SiteCapture:
    """A capture whose heads differ: each prefers keys a number of tokens back, and the first token is a sink."""
    place = np.arange(n_tokens)[:, None] * np.linspace(0.3, 2.5, site.d_head)
    queries = rng.normal(0, 0.5, (site.n_heads, n_tokens, site.d_head)) + sharpness * np.cos(place)
    keys = rng.normal(0, 0.5, (site.n_kv_heads, n_tokens, site.d_head)) + offset[:, None, :]
    for head in range(site.n_kv_heads):
        keys[head] += sharpness * np.cos(place + head * np.linspace(0.3, 2.5, site.d_head))
        keys[head, 0] += queries[head].mean(axis=0) * head
    queries, keys = queries.astype(np.float32), keys.astype(np.float32)
    allowed = (site.band or Band()).allowed(n_tokens)
    attention = recompute(queries, keys, allowed, site.scale, site.softcap)
    norms = rng.gamma(4, 1, (site.n_kv_heads, n_tokens)).astype(np.float32)
    return SiteCapture(site, input_id, queries, keys, norms, allowed, attention)


def make_tables(
    rng: np.random.Generator, modality: str, n_inputs: int, n_tokens: int
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, str]]]:
    """Inputs, tokens and the meaning of the token columns, as `analysis.inputs` gives them."""
    return (_texts if modality == "text" else _images)(rng, n_inputs, n_tokens)


def _texts(rng: np.random.Generator, n_inputs: int, n_tokens: int):
    lengths = rng.integers(max(3, 2 * n_tokens // 3), n_tokens + 1, n_inputs)
    inputs, rows = [], []
    for input_id, length in enumerate(lengths.tolist()):
        words = ["[CLS]", *rng.choice(WORDS, length - 2), "[SEP]"]
        start = 0
        for position, word in enumerate(words):
            special = word.startswith("[")
            end = start if special else start + len(word)
            rows.append(
                (input_id, position, str(word), start, end, special, 0, position / max(1, length - 1), len(word))
            )
            start = end if special else end + 1
        text = " ".join(words[1:-1])
        inputs.append((input_id, text, length, 0, ("news", "fiction")[input_id % 2]))
    names = "input_id position text char_start char_end is_special segment position_share length".split()
    columns = {
        "position": {"kind": "sequential", "unit": "tokens", "description": "Place in the input, counted from 0."},
        "position_share": {
            "kind": "sequential",
            "unit": "0 to 1",
            "description": "Place in the input: 0 first, 1 last.",
        },
        "length": {"kind": "sequential", "unit": "characters", "description": "Characters of the token."},
        "is_special": {"kind": "categorical", "unit": "", "description": "Added by the tokenizer."},
    }
    tables = (
        pd.DataFrame(inputs, columns=["input_id", "text", "n_tokens", "n_cut", "genre"]),
        pd.DataFrame(rows, columns=names),
    )
    return *tables, {name: {"name": name, **info} for name, info in columns.items()}


def _images(rng: np.random.Generator, n_inputs: int, n_tokens: int):
    side = max(1, int(np.sqrt(n_tokens - 1)))
    inputs, rows = [], []
    for input_id in range(n_inputs):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        inputs.append((input_id, f"scene-{input_id}.png", _png(pixels), side * 8, side * 8, side * side + 1, 0))
        rows.append((input_id, 0, "CLS", True, -1, -1, np.nan, np.nan))
        for patch in range(side * side):
            row, column = divmod(patch, side)
            hue, light = rng.uniform(0, 360), pixels[row * 8, column * 8].mean() / 255
            rows.append((input_id, patch + 1, f"r{row}c{column}", False, row, column, hue, light))
    columns = {
        "position": {"kind": "sequential", "unit": "tokens", "description": "Place in the input, counted from 0."},
        "row": {"kind": "sequential", "unit": "patches", "description": "Row of the patch, from the top."},
        "column": {"kind": "sequential", "unit": "patches", "description": "Column of the patch, from the left."},
        "hue": {"kind": "cyclic", "unit": "degrees", "description": "Mean hue of the patch."},
        "luminance": {"kind": "sequential", "unit": "0 to 1", "description": "Mean luminance of the patch."},
    }
    names = "input_id position text is_special row column hue luminance".split()
    frame = pd.DataFrame(inputs, columns="input_id name image width height n_tokens n_cut".split())
    return frame, pd.DataFrame(rows, columns=names), {name: {"name": name, **info} for name, info in columns.items()}


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def input_scores(captures: list[list[SiteCapture]]) -> pd.DataFrame:
    """Mean weight on the first token, per head and input."""
    rows = [
        ("first_token", capture.site.index, head, capture.input_id, float(weight), 1 / len(capture.allowed))
        for of_input in captures
        for capture in of_input
        for head, weight in enumerate(capture.attention[:, :, 0].mean(axis=1))
    ]
    return pd.DataFrame(rows, columns=["metric", "site", "head", "input_id", "value", "null"])


def head_scores(rng: np.random.Generator, sites: list[Site], n_inputs: int) -> pd.DataFrame:
    """Values in 0..1 for three metrics, with an interval of 0.1."""
    rows = []
    for metric in ("entropy", "first_token", "previous_token"):
        for site in sites:
            for head in range(site.n_heads):
                value = float(rng.uniform())
                rows.append((metric, site.key, head, value, value - 0.05, value + 0.05, 0.1, n_inputs))
    return pd.DataFrame(rows, columns="metric site head value ci_low ci_high null n".split())


def add_map(writer, method: str, dims: int, sites: list[Site], n_tokens: int, seed: int = 0) -> str:
    """Put a map of two clouds, its fidelity and its thumbnails: in one transaction and one insertion a table, not in
    one or two a head."""
    database, held = writer.database, {}
    with database.transaction():
        with (
            mock.patch.object(database, "transaction", nullcontext),
            mock.patch.object(database, "insert", lambda table, rows: held.setdefault(table, []).append(rows)),
            mock.patch.object(writer, "_number", cache(writer._number)),
        ):
            projection_id = _add_map(writer, method, dims, sites, n_tokens, seed)
        for table, rows in held.items():
            database.insert(table, pa.concat_tables(rows))
    return projection_id


def _add_map(writer, method: str, dims: int, sites: list[Site], n_tokens: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    projection_id = writer.put_projection("", method, "attention", dims, seed, {"iterations": 300})
    for site in sites:
        for head in range(site.n_heads):
            turn = np.linspace(0, 6, n_tokens)[:, None]
            queries = 10 * np.cos(turn + np.arange(dims)) + rng.normal(0, 1, (n_tokens, dims))
            keys = 10 * np.sin(turn + np.arange(dims)) + rng.normal(0, 1, (n_tokens, dims)) + head
            writer.put_coordinates(projection_id, site.key, head, queries, keys)
            names = "kl_explained key_only_kl mass3_skill recall3_content kept_queries kept_keys mix".split()
            writer.put_fidelity(projection_id, site.key, head, dict(zip(names, rng.uniform(0, 1, len(names)))))
    for stack in dict.fromkeys(site.stack_label for site in sites):
        depths, heads = len({site.depth for site in sites}), max(site.n_heads for site in sites)
        picture = rng.integers(0, 256, (depths * 16, heads * 16, 3), dtype=np.uint8)
        writer.put_thumbnail(projection_id, stack, _png(picture), 16)
    return projection_id

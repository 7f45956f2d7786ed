"""A small plausible run of an encoder-decoder made without a model: two sequences an input, three stacks of sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.attention import recompute
from analysis.engines.scoring import score_captures
from analysis.store import RunWriter
from analysis.types import DECODER, ENCODER, Band, Site, SiteCapture
from tests.store.synthetic import WORDS, add_map, head_scores

N_HEADS, D_HEAD, N_LAYERS = 3, 8, 2
STACKS = (
    ("text.enc.self", ENCODER, ENCODER, Band()),
    ("text.dec.self", DECODER, DECODER, Band(right=0)),
    ("text.dec.cross", DECODER, ENCODER, Band()),
)


def make_pair_run(
    runs_dir: str | Path, run_id: str = "pairs", lengths: tuple[tuple[int, int], ...] = ((9, 6), (7, 11), (12, 8)) * 2
) -> Path:
    """Write and publish a run, with attention received, scores and the map ``atlas-2d``.

    Args:
        lengths: Tokens of encoder and decoder of each input.
    """
    rng = np.random.default_rng(0)
    sites = [
        Site(
            index, f"{label}.{depth}#0", f"{label}.{depth}", *label.split("."), depth, N_HEADS, N_HEADS, D_HEAD, D_HEAD,
            D_HEAD**-0.5, band, query_sequence=queries, key_sequence=keys,
        )
        for index, (depth, (label, queries, keys, band)) in enumerate(
            (depth, stack) for depth in range(N_LAYERS) for stack in STACKS
        )
    ]  # fmt: skip
    inputs, tokens = _tables(rng, lengths)
    with RunWriter.open(runs_dir, run_id, {"model": "synthetic", "data": "synthetic"}) as writer:
        writer.put_plan(sites, {}, {}, {"outputs_max_abs_diff": 0.0})
        writer.put_inputs(inputs, tokens, {name: {"name": name} for name in ("sequence", "is_special")})
        captures = [
            [_capture(rng, site, input_id, dict(zip((ENCODER, DECODER), of))) for site in sites]
            for input_id, of in enumerate(lengths)
        ]
        scored = score_captures(captures, ["entropy", "special_share"], {})
        writer.put_batch(captures, scored.scores, lambda capture: False, received=scored.received)
        scores = head_scores(rng, sites, len(inputs))
        cross = scores["site"].isin([site.key for site in sites if site.is_cross])
        writer.put_head_scores(scores[~cross | (scores["metric"] == "entropy")])
        _put_map(writer, rng, sites)
        return writer.publish({"model": "synthetic", "data": "synthetic", "decoder_reads": "target"})


def _tables(rng: np.random.Generator, lengths: tuple[tuple[int, int], ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    inputs, rows = [], []
    for input_id, (n_encoder, n_decoder) in enumerate(lengths):
        texts, position = [], 0
        for sequence, n in ((ENCODER, n_encoder), (DECODER, n_decoder)):
            words, start = ["<s>", *rng.choice(WORDS, n - 1)], 0
            for word in words:
                special = word == "<s>"
                end = start if special else start + len(word)
                place = (pd.NA, pd.NA) if special else (start, end)
                rows.append((input_id, position, sequence, str(word), *place, special, 0))
                start, position = end if special else end + 1, position + 1
            texts.append(" ".join(words[1:]))
        inputs.append((input_id, *texts, n_encoder + n_decoder, 0))
    tokens = pd.DataFrame(
        rows, columns="input_id position sequence text char_start char_end is_special segment".split()
    )
    return (
        pd.DataFrame(inputs, columns="input_id text target n_tokens n_cut".split()),
        tokens.astype({"char_start": "Int32", "char_end": "Int32"}),
    )


def _capture(rng: np.random.Generator, site: Site, input_id: int, n_tokens: dict[str, int]) -> SiteCapture:
    shape = n_tokens[site.query_sequence], n_tokens[site.key_sequence]
    queries, keys = (rng.normal(0, 1.5, (N_HEADS, n, D_HEAD)).astype(np.float32) for n in shape)
    allowed = site.band.allowed(*shape)
    norms = rng.gamma(4, 1, (N_HEADS, shape[1])).astype(np.float32)
    return SiteCapture(site, input_id, queries, keys, norms, allowed, recompute(queries, keys, allowed, site.scale))


def _put_map(writer: RunWriter, rng: np.random.Generator, sites: list[Site]) -> None:
    name = add_map(writer, "atlas", 2, [], 0)
    for site in sites:
        sides = [len(rows) for rows in writer.point_rows(site)]
        for head in range(N_HEADS):
            places = [rng.normal([0, 8 * which], 5, (n, 2)) for which, n in enumerate(sides)]
            writer.put_coordinates(name, site.key, head, *places)
            writer.put_fidelity(name, site.key, head, {"kl_explained": 0.8, "key_only_kl": 0.5, "mix": 0.1})

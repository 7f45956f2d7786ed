"""Writes a run batch by batch, telling after each what is acknowledged: a program that tests kill."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from analysis.store import RunWriter
from analysis.types import Band, Site, SiteCapture

N_INPUTS, N_TOKENS, N_HEADS, D_HEAD = 400, 6, 4, 8
SITE = Site(0, "a#0", "text.enc.self.0", "text", "enc", "self", 0, N_HEADS, N_HEADS, D_HEAD, D_HEAD, 0.35, Band())
SPEC = {"model": "m", "n": N_INPUTS}


def capture(input_id: int) -> SiteCapture:
    """The same numbers for an input in whatever process; exact in fp16."""
    rng = np.random.default_rng(input_id)
    queries, keys = rng.integers(-512, 512, (2, N_HEADS, N_TOKENS, D_HEAD)).astype(np.float32) / 64
    return SiteCapture(
        SITE, input_id, queries, keys, np.ones((N_HEADS, N_TOKENS), np.float32), np.ones((N_TOKENS,) * 2, bool)
    )


def tables(n_inputs: int = N_INPUTS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inputs and tokens."""
    ids = np.arange(n_inputs)
    inputs = pd.DataFrame({"input_id": ids, "text": "a", "n_tokens": N_TOKENS})
    tokens = pd.DataFrame({"input_id": ids.repeat(N_TOKENS), "position": np.tile(np.arange(N_TOKENS), n_inputs)})
    return inputs, tokens.assign(text="a")


def scores(ids: list[int]) -> pd.DataFrame:
    """One row an input, so that a batch stored twice would show."""
    return pd.DataFrame({"metric": "m", "site": 0, "head": 0, "input_id": ids, "value": 1.0, "null": 0.5})


def write(folder: str, batch: int = 4, stop: int = N_INPUTS) -> None:
    """Write what is missing and say so line by line."""
    with RunWriter.open(folder, "run", SPEC) as writer:
        writer.put_plan([SITE], {}, {}, {})
        writer.put_inputs(*tables(), {})
        waiting = sorted(set(range(stop)) - writer.done_inputs())
        print(json.dumps({"held": stop - len(waiting)}), flush=True)
        for start in range(0, len(waiting), batch):
            ids = waiting[start : start + batch]
            writer.put_batch([[capture(i)] for i in ids], scores(ids), lambda capture: False)
            print(json.dumps({"acknowledged": ids}), flush=True)
        if stop == N_INPUTS:
            writer.publish({})


if __name__ == "__main__":
    write(sys.argv[1])

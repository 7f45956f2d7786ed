"""The map stage reads block by block: four times the inputs take no more memory but for the places themselves."""

import subprocess
import sys

import numpy as np
import pytest

import analysis
from analysis.pipeline.maps import StoredHead
from tests.store.synthetic import make_synthetic_run

MEASURE = """
import sys, tracemalloc
import numpy as np
import analysis
from analysis.pipeline.maps import StoredHead
from analysis.projection.fit import fit_heads

def fitted(path, max_tokens):
    with analysis.open_run(path) as run:
        starts = np.concatenate([[0], np.cumsum(run.inputs()["n_tokens"])])
        head = StoredHead(run, run.sites[0], 0, starts, np.zeros(starts[-1], dtype=bool))
        tracemalloc.start()
        (*_, layout, figures), = fit_heads([("site", 0, lambda: head)], "linear", max_tokens=max_tokens, n_jobs=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, starts[-1], layout.parameters.get("n_blocks", 1)

fitted(sys.argv[1], 1500)  # imports and compiling
for path, max_tokens in ((sys.argv[1], 1500), (sys.argv[2], 1500), (sys.argv[2], 100_000)):
    print(*fitted(path, max_tokens))
"""


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "recomputed"])
def test_memory_is_bounded_by_the_sample(tmp_path, stored):
    sizes = {"n_tokens": 72, "n_layers": 1, "n_heads": 1, "with_projection": False, "store_attention": stored}
    few, many = (make_synthetic_run(tmp_path, f"run{n}", n_inputs=n, **sizes) for n in (50, 200))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, few, many], capture_output=True, text=True, check=True, timeout=600
    )
    (small, n_few, _), (large, n_many, n_blocks), (unbounded, *_) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert n_blocks == -(-n_many // 1500) >= 8
    result = (n_many - n_few) * 64  # two float32 places of a query and a key, row numbers, lengths
    assert large < small + result
    assert unbounded > 2 * large


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "recomputed"])
def test_a_head_is_read_for_some_inputs_as_for_all(tmp_path, stored):
    path = make_synthetic_run(tmp_path, n_inputs=7, n_kv_heads=1, causal=True, store_attention=stored)
    with analysis.open_run(path) as run:
        starts = np.concatenate([[0], np.cumsum(run.inputs()["n_tokens"])])
        special = run.tokens()["is_special"].to_numpy(dtype=bool)
        head = StoredHead(run, run.sites[1], 2, starts, special)
        chosen = np.array([0, 3, 6])
        part, expected = head.of_inputs(chosen), head.of_inputs(np.arange(7)).of_inputs(chosen)
    for name in ("queries", "keys", "starts", "is_special"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))
    for name in ("attention", "allowed"):
        assert len(getattr(part, name)) == 3
        for one, other in zip(getattr(part, name), getattr(expected, name)):
            np.testing.assert_array_equal(one, other)

"""The map stage reads block by block: four times the inputs take no more memory but for the places themselves."""

import tracemalloc

import numpy as np
import pytest

import analysis
from analysis.pipeline.maps import StoredHead
from analysis.projection.fit import fit_heads
from tests.store.synthetic import make_synthetic_run

MAX_TOKENS = 700


def fitted(path, max_tokens):
    """Tokens, and blocks in which they were placed."""
    with analysis.open_run(path) as run:
        starts = np.concatenate([[0], np.cumsum(run.inputs()["n_tokens"])])
        head = StoredHead(run, run.sites[0], 0, starts, np.zeros(starts[-1], dtype=bool))
        ((*_, layout, _),) = fit_heads([("site", 0, lambda: head)], "linear", max_tokens=max_tokens, n_jobs=1)
        return starts[-1], layout.parameters.get("n_blocks", 1)


def traced(path, max_tokens):
    """Peak of memory in bytes, and the same."""
    tracemalloc.start()
    try:
        found = fitted(path, max_tokens)
        return tracemalloc.get_traced_memory()[1], *found
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "recomputed"])
def test_memory_is_bounded_by_the_sample(tmp_path, stored):
    sizes = {"n_tokens": 72, "n_layers": 1, "n_heads": 1, "with_projection": False, "store_attention": stored}
    few, many = (make_synthetic_run(tmp_path, f"run{n}", n_inputs=n, **sizes) for n in (20, 120))
    fitted(few, MAX_TOKENS)  # imports and compiling
    (small, n_few, _), (large, n_many, n_blocks), (unbounded, *_) = (
        traced(*given) for given in ((few, MAX_TOKENS), (many, MAX_TOKENS), (many, 100_000))
    )
    assert n_blocks == -(-n_many // MAX_TOKENS) >= 8
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

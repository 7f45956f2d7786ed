"""Many heads: threads, samples and chains give what one head alone gives."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.errors import UnknownName
from analysis.projection import PROJECTIONS
from analysis.projection.fidelity import kl_explained, measure
from analysis.projection.fit import fit_heads
from analysis.projection.problem import Layout
from analysis.projection.sample import part_of, placed_beside, stratified_rows
from analysis.projection.thumbnails import MARGIN_PX, N_LEVELS, density_levels, sprite
from tests.projection.heads import random_head


def jobs(n_heads=4, lengths=(20, 15, 25), **options):
    return [("site", head, lambda head=head: random_head(lengths, seed=head, **options)) for head in range(n_heads)]


def test_threads_change_nothing_and_keep_the_order():
    seen = []
    one = list(fit_heads(jobs(), "atlas", n_jobs=1, seed=5))
    many = list(fit_heads(jobs(), "atlas", n_jobs=3, seed=5, progress=seen.append))
    assert [fitted[1] for fitted in many] == [0, 1, 2, 3]
    assert seen == [1, 2, 3, 4]
    for head, (a, b) in enumerate(zip(one, many)):
        np.testing.assert_array_equal(a[2].queries, b[2].queries)
        np.testing.assert_array_equal(a[2].keys, b[2].keys)
        alone = PROJECTIONS["atlas"](random_head((20, 15, 25), seed=head), 2, 5)
        np.testing.assert_array_equal(a[2].queries, alone.queries)
        assert a[3] == b[3] == measure(random_head((20, 15, 25), seed=head), alone)


def test_another_seed_gives_another_map():
    a, b = (next(iter(fit_heads(jobs(1), "atlas", seed=seed)))[2] for seed in (1, 2))
    assert not np.array_equal(a.queries, b.queries)


def test_few_problems_exist_at_a_time():
    built = []

    def job(head):
        return "site", head, lambda: built.append(head) or random_head(seed=head)

    results = fit_heads((job(head) for head in range(20)), "linear", n_jobs=2)
    next(results)
    assert len(built) <= 4
    results.close()


def test_an_error_in_a_head_comes_out():
    def broken():
        raise UnknownName("no such input")

    with pytest.raises(UnknownName, match="no such input"):
        list(fit_heads([("site", 0, broken)], "linear"))
    with pytest.raises(UnknownName, match="known: "):
        list(fit_heads(jobs(1), "nothing"))


def test_the_target_reaches_the_method():
    *_, layout, figures = next(iter(fit_heads(jobs(1), "atlas", target="without_sinks")))
    assert layout.parameters["target"] == "without_sinks"
    assert layout.parameters["power"] == 2
    assert figures == measure(random_head((20, 15, 25), seed=0).with_target("without_sinks"), layout)


def test_samples_are_stratified_seeded_and_keep_special_tokens():
    problem = random_head(lengths=(100, 40, 60, 1))
    rows = stratified_rows(problem, 50, seed=0)
    np.testing.assert_array_equal(rows, stratified_rows(problem, 50, seed=0))
    assert not np.array_equal(rows, stratified_rows(problem, 50, seed=1))
    assert set(np.flatnonzero(problem.is_special)) <= set(rows)
    counts = np.histogram(rows, bins=problem.starts)[0]
    np.testing.assert_allclose(counts, [25, 10, 15, 1], atol=1)


def test_a_part_has_the_softmax_over_its_own_keys():
    problem = random_head(lengths=(12, 10))
    rows = stratified_rows(problem, 10, seed=0)
    part = part_of(problem, rows)
    local = rows[: part.starts[1]]
    scores = np.exp(problem.queries[local] @ problem.keys[local].T * problem.scale)
    expected = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(part.pairs.target[: expected.size].reshape(expected.shape), expected, rtol=1e-4)


@pytest.mark.parametrize("method", ["linear", "atlas"])
def test_many_tokens_are_fitted_on_a_sample_and_the_rest_placed_beside(method):
    problem = random_head(lengths=(30,) * 20, d_head=4, sharpness=1.5)
    *_, layout, figures = next(iter(fit_heads([("site", 0, lambda: problem)], method, max_tokens=300)))
    assert layout.queries.shape == (600, 2)
    assert layout.parameters["n_fitted"] + layout.parameters["n_placed"] == 600
    assert 280 <= layout.parameters["n_fitted"] <= 320
    assert np.isfinite(layout.keys).all()
    assert figures["kl_explained"] == kl_explained(problem, layout)
    shuffled = np.random.default_rng(0).permutation(600)
    assert figures["kl_explained"] > kl_explained(problem, replace(layout, keys=layout.keys[shuffled])) + 0.3


def test_placed_points_settle():
    problem = random_head(lengths=(30,) * 20, d_head=4, sharpness=1.5)
    rows = stratified_rows(problem, 300, seed=0)
    placed = placed_beside(problem, rows, PROJECTIONS["atlas"](part_of(problem, rows), 2, 0))
    *_, settled, _ = next(iter(fit_heads([("site", 0, lambda: problem)], "atlas", max_tokens=300)))
    assert kl_explained(problem, settled) > kl_explained(problem, placed) + 0.05
    again = next(iter(fit_heads([("site", 0, lambda: problem)], "atlas", max_tokens=300)))[2]
    np.testing.assert_array_equal(settled.queries, again.queries)


def cloud(x, y, n=50):
    return np.tile(np.array([[x, y]], dtype=np.float32), (n, 1))


def test_the_sprite_shows_both_kinds_where_they_are():
    ends = np.array([[0, 0], [10, 10]], dtype=np.float32)
    layout = Layout(np.vstack([ends[:1], cloud(0, 0)]), np.vstack([ends[1:], cloud(10, 10)]))
    together = Layout(np.vstack([ends, cloud(0, 0)]), np.vstack([ends, cloud(0, 0)]))
    image = Image.open(io.BytesIO(sprite({(0, 0): layout, (2, 1): together}, cell_px=40)))
    assert image.mode == "P"
    assert image.size == (80, 80)
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    low, high = 40 - 1 - MARGIN_PX, 40 - 1 - (39 - MARGIN_PX)
    query, key = pixels[low, MARGIN_PX], pixels[high, 39 - MARGIN_PX]
    assert tuple(query) == (0x00, 0x9E, 0x73, 255)
    assert tuple(key) == (0xCC, 0x33, 0x99, 255)
    assert tuple(pixels[40 + low, 40 + MARGIN_PX]) == (0x66, 0x68, 0x86, 255)
    assert pixels[:40, 40:, 3].max() == pixels[40:, :40, 3].max() == 0  # heads that are not there
    assert pixels[20, 5, 3] == 0  # ground


def test_a_cell_has_one_scale_for_both_axes():
    wide = np.array([[0, 0], [100, 0], [100, 10], [0, 10]], dtype=np.float32)
    image = Image.open(io.BytesIO(sprite({(0, 0): Layout(wide, wide)}, cell_px=60)))
    rows, columns = np.nonzero(np.asarray(image.convert("RGBA"))[:, :, 3])
    assert np.ptp(columns) >= 50
    assert np.ptp(rows) <= 7


def test_density_levels_double():
    np.testing.assert_array_equal(
        density_levels(np.array([0, 1, 2, 3, 4, 7, 8, 15, 16, 999])), [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    )
    assert N_LEVELS == 6


def test_an_empty_sprite_and_equal_points_are_drawn():
    assert Image.open(io.BytesIO(sprite({}, 10))).size == (10, 10)
    assert Image.open(io.BytesIO(sprite({(3, 0): Layout(cloud(1, 1), cloud(1, 1))}, 30))).size == (30, 30)


def test_kernels_are_compiled_where_nothing_can_be_cached(monkeypatch):
    import numba

    from analysis.projection.kernels.compiled import compiled

    plain = numba.njit

    def nowhere_to_write(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return plain(*arguments, **options)

    monkeypatch.setattr(numba, "njit", nowhere_to_write)
    assert compiled(lambda value: value + 1)(2) == 3

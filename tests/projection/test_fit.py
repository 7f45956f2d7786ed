"""Many heads: threads, samples and chains give what one head alone gives."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.errors import UnknownName
from analysis.projection import PROJECTIONS
from analysis.projection.alignment import displacement
from analysis.projection.atlas_layout import settled as settle
from analysis.projection.fidelity import attention_sums, figures_of, kl_explained, measure
from analysis.projection.fit import fit_heads, layout_of
from analysis.projection.problem import Layout, rows_of
from analysis.projection.sample import blocks_of_inputs, placed_beside
from analysis.projection.thumbnails import MARGIN_PX, N_LEVELS, density_levels, sprite
from analysis.types import Band
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


@pytest.mark.parametrize("max_tokens", [1, 50, 120, 200, 201, 1000])
def test_blocks_divide_the_inputs_evenly(max_tokens):
    lengths = np.array([30, 1, 12, 25, 9, 40, 3, 30, 20, 30])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    blocks = blocks_of_inputs(starts, max_tokens, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(10))
    assert all(len(block) and (np.diff(block) > 0).all() for block in blocks)
    sizes = [lengths[block].sum() for block in blocks]
    if max_tokens >= 200:
        assert len(blocks) == 1
    elif max_tokens >= 50:
        assert len(blocks) == -(-200 // max_tokens)
        assert max(sizes) - min(sizes) <= 40
        assert max(sizes) <= max_tokens + 20
    again = blocks_of_inputs(starts, max_tokens, seed=0)
    assert all(np.array_equal(one, other) for one, other in zip(blocks, again))
    rows = np.concatenate([rows_of(starts, block) for block in blocks])
    np.testing.assert_array_equal(np.sort(rows), np.arange(200))


def test_another_seed_samples_other_inputs():
    starts = np.arange(0, 2001, 10)
    assert not np.array_equal(blocks_of_inputs(starts, 500, 0)[0], blocks_of_inputs(starts, 500, 1)[0])


def test_a_problem_of_some_inputs_has_their_rows():
    problem = random_head(lengths=(12, 9, 15))
    part = problem.of_inputs(np.array([0, 2]))
    np.testing.assert_array_equal(part.starts, [0, 12, 27])
    np.testing.assert_array_equal(part.queries, np.concatenate([problem.queries[:12], problem.queries[21:]]))
    np.testing.assert_array_equal(part.attention[1], problem.attention[2])
    np.testing.assert_array_equal(np.flatnonzero(part.is_special), [0, 12])
    assert problem.of_inputs(np.arange(3)) is problem


def halves(method, problem, **options):
    return next(iter(fit_heads([("site", 0, lambda: problem)], method, max_tokens=300, **options)))


@pytest.mark.parametrize("method", ["linear", "atlas", "pca"])
def test_many_tokens_are_fitted_on_a_sample_and_the_rest_placed_beside(method):
    problem = random_head(lengths=(30,) * 20, d_head=4, sharpness=1.5)
    *_, layout, figures = halves(method, problem)
    assert layout.queries.shape == (600, 2)
    assert layout.parameters["n_fitted"] == layout.parameters["n_placed"] == 300
    assert layout.parameters["n_blocks"] == 2
    assert np.isfinite(layout.keys).all()
    sample = blocks_of_inputs(problem.starts, 300, 0)[0]
    alone = PROJECTIONS[method](problem.of_inputs(sample), 2, 0)
    np.testing.assert_array_equal(layout.keys[rows_of(problem.starts, sample)], alone.keys)
    assert figures["kept_keys"] == measure(problem.of_inputs(sample), alone)["kept_keys"]
    if method != "pca":  # which is read the kindest way for the sample
        assert figures["kl_explained"] == pytest.approx(kl_explained(problem, layout), abs=1e-6)
        assert figures["recall3_content"] == pytest.approx(measure(problem, layout)["recall3_content"], abs=1e-6)
        shuffled = np.random.default_rng(0).permutation(600)
        assert figures["kl_explained"] > kl_explained(problem, replace(layout, keys=layout.keys[shuffled])) + 0.3


def test_figures_of_parts_are_the_figures_of_the_whole():
    problem = random_head(lengths=(12, 9, 15, 7), band=Band(right=0))
    layout = PROJECTIONS["linear"](problem, 2, 0)
    sums = []
    for inputs in (np.array([0, 3]), np.array([1, 2])):
        rows = rows_of(problem.starts, inputs)
        sums.append(attention_sums(problem.of_inputs(inputs), layout_of(layout, rows, rows)))
    whole = measure(problem, layout)
    for name, value in figures_of(sums).items():
        assert value == pytest.approx(whole[name], abs=1e-6), name


def test_placed_points_settle():
    problem = random_head(lengths=(30,) * 20, d_head=4, sharpness=1.5)
    sample, others = (problem.of_inputs(block) for block in blocks_of_inputs(problem.starts, 300, 0))
    placed = placed_beside(others, sample, PROJECTIONS["atlas"](sample, 2, 0))
    settled = settle(others, placed, 0)
    assert kl_explained(others, settled) > kl_explained(others, placed) + 0.05
    np.testing.assert_array_equal(settled.queries, settle(others, placed, 0).queries)
    assert displacement(settled, placed) < 0.5  # where they were placed, more or less


def test_a_sampled_head_never_reads_everything():
    problem = random_head(lengths=(30,) * 20, d_head=4)
    asked = []

    class OnDemand:
        starts, key_starts = problem.starts, None

        def of_inputs(self, inputs):
            asked.append(len(inputs))
            return problem.of_inputs(inputs)

    list(fit_heads([("site", 0, OnDemand)], "atlas", max_tokens=150))
    assert asked == [5, 5, 5, 5]


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

"""Mean attention over inputs, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.metrics.averages import average_attention, sample_inputs

CAUSAL = np.tril(np.ones((3, 3), dtype=bool))
FIRST = np.array([[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.25, 0.25]], dtype=np.float32)
SECOND = np.array([[1, 0], [0.75, 0.25]], dtype=np.float32)


def both():
    return [(FIRST, CAUSAL), (SECOND, CAUSAL[:2, :2])]


def test_means_by_position_count_the_inputs_that_are_long_enough():
    found = average_attention(both())
    np.testing.assert_allclose(found.by_position[1, :2], [0.5, 0.5])
    np.testing.assert_allclose(found.by_position[2], FIRST[2])
    assert np.isnan(found.by_position[0, 1])
    assert found.position_counts.tolist() == [[2, 0, 0], [2, 2, 0], [1, 1, 1]]
    assert (found.n_inputs, found.longest) == (2, 3)


def test_means_by_offset_are_over_all_allowed_pairs():
    found = average_attention(both(), n_offsets=2)
    assert found.offsets.tolist() == [-2, -1, 0, 1, 2]
    np.testing.assert_allclose(found.by_offset[2:], [(1 + 0.75 + 0.25 + 1 + 0.25) / 5, (0.25 + 0.25 + 0.75) / 3, 0.5])
    assert np.isnan(found.by_offset[:2]).all()
    assert found.offset_counts.tolist() == [0, 0, 5, 3, 1]
    assert found.farther == pytest.approx(0)


def test_what_is_beyond_is_told():
    found = average_attention(both(), n_positions=2, n_offsets=1)
    assert found.by_position.shape == (2, 2)
    assert found.longest == 3
    assert found.farther == pytest.approx(0.5 / 5)


def test_nothing_to_average_is_an_error():
    with pytest.raises(ValueError, match="no input"):
        average_attention([])


def test_few_short_inputs_are_all_taken_and_many_or_long_ones_are_sampled():
    assert sample_inputs(np.full(40, 20)).tolist() == list(range(40))
    many = sample_inputs(np.full(5000, 20), most_inputs=300)
    assert len(many) == 300
    assert len(set(many.tolist())) == 300
    assert many.tolist() == sample_inputs(np.full(5000, 20), most_inputs=300).tolist()
    assert len(sample_inputs(np.full(10, 3000), most_pairs=20_000_000)) == 2
    assert len(sample_inputs(np.array([9000]), most_pairs=1000)) == 1

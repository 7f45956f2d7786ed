"""Hiding, merging and colour scales, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.errors import UserError
from app.charts.scales import make_scale, weight_words
from app.charts.shown import each_alone, hidden_tokens, show_attention, strongest, word_groups

ATTENTION = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.2, 0.4, 0.4, 0], [0.1, 0.2, 0.3, 0.4]], dtype=np.float32)
CAUSAL = np.tril(np.ones((4, 4), dtype=bool))
NONE = np.zeros(4, dtype=bool)


def test_nothing_hidden_or_merged_is_the_attention_itself():
    shown = show_attention(ATTENTION, CAUSAL, NONE, each_alone(4))
    np.testing.assert_array_equal(shown.weights, ATTENTION)
    np.testing.assert_array_equal(shown.unit_of, range(4))
    assert shown.hidden_mass.tolist() == [0, 0, 0, 0]


def test_what_is_left_of_a_row_is_scaled_up_and_the_hidden_mass_is_told():
    before = ATTENTION.copy()
    shown = show_attention(ATTENTION, CAUSAL, np.array([True, False, False, False]), each_alone(4))
    np.testing.assert_allclose(shown.weights, [[1, 0, 0], [0.5, 0.5, 0], [2 / 9, 3 / 9, 4 / 9]], rtol=1e-6)
    np.testing.assert_allclose(shown.hidden_mass, [0.5, 0.2, 0.1], rtol=1e-5)
    assert shown.unit_of.tolist() == [-1, 0, 1, 2]
    assert shown.first.tolist() == [1, 2, 3]
    assert (shown.unit(0), shown.unit(2), shown.unit(None)) == (None, 1, None)
    np.testing.assert_array_equal(ATTENTION, before)


def test_a_row_that_looked_at_hidden_tokens_only_is_empty_and_counted():
    shown = show_attention(ATTENTION, CAUSAL, np.array([False, True, False, False]), each_alone(4))
    assert shown.n_emptied == 0
    sink = np.array([[1, 0], [1, 0]], dtype=np.float32)
    shown = show_attention(sink, np.ones((2, 2), dtype=bool), np.array([True, False]), each_alone(2))
    assert shown.weights.tolist() == [[0]]
    assert (shown.n_emptied, shown.hidden_mass.tolist()) == (1, [1])


def test_a_learned_sink_keeps_its_share_when_tokens_are_hidden():
    less = ATTENTION * 0.8
    shown = show_attention(less, CAUSAL, np.array([True, False, False, False]), each_alone(4))
    np.testing.assert_allclose(shown.weights.sum(axis=1), 0.8, rtol=1e-5)


def test_words_attend_as_the_mean_of_their_tokens_and_receive_their_sum():
    shown = show_attention(ATTENTION, CAUSAL, NONE, np.array([0, 1, 1, 2]))
    np.testing.assert_allclose(shown.weights, [[1, 0, 0], [0.35, 0.65, 0], [0.1, 0.5, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(shown.weights.sum(axis=1), 1, rtol=1e-6)
    assert shown.allowed.tolist() == np.tril(np.ones((3, 3), dtype=bool)).tolist()
    assert (shown.first.tolist(), shown.last.tolist(), shown.unit_of.tolist()) == ([0, 1, 3], [0, 2, 3], [0, 1, 1, 2])


def test_a_word_of_which_a_part_is_hidden_is_the_rest_of_it():
    shown = show_attention(ATTENTION, CAUSAL, np.array([False, True, False, False]), np.array([0, 1, 1, 2]))
    np.testing.assert_allclose(shown.weights[1], [1 / 3, 2 / 3, 0], rtol=1e-6)
    assert shown.unit_of.tolist() == [0, -1, 1, 2]
    assert shown.hidden_mass == pytest.approx([0, 0.4, 0.2])


def test_hiding_everything_says_what_to_do():
    with pytest.raises(UserError, match="hidden"):
        show_attention(ATTENTION, CAUSAL, ~NONE, each_alone(4))


def test_words_are_tokens_that_touch_without_a_space():
    text = "two spoons, héé"
    spans = [(None, None), (0, 3), (3, 9), (9, 10), (10, 11), (12, 13), (13, 15), (13, 15), (None, None)]
    tokens = pd.DataFrame(spans, columns=["char_start", "char_end"])
    tokens["is_special"] = [True] + [False] * 7 + [True]
    # ``two| spoon|s|,| |h|éé|(second byte)``: the span of `` spoon`` begins with its space.
    assert word_groups(tokens, text).tolist() == [0, 1, 2, 2, 2, 3, 3, 3, 4]


def test_the_link_hides_special_tokens_and_positions():
    special = np.array([True, False, False, True])
    assert hidden_tokens("special,2", special).tolist() == [True, False, True, True]
    assert hidden_tokens("", special).tolist() == [False] * 4
    assert hidden_tokens("x,-1,99,²", special).tolist() == [False] * 4
    assert hidden_tokens("genre:0,3", special).tolist() == [False] * 4


def test_the_strongest_of_a_row_leave_out_what_may_not_be_attended_to():
    keys, weights = strongest(ATTENTION, CAUSAL, 2)
    assert keys.tolist() == [[0, -1], [0, 1], [1, 2], [3, 2]] or keys.tolist()[3] == [3, 2]
    np.testing.assert_allclose(weights[3], [0.4, 0.3])
    assert keys[0].tolist() == [0, -1]


def test_a_linear_scale_starts_at_zero_and_its_ticks_are_weights():
    scale = make_scale(np.array([0.1, 0.4, np.nan]))
    np.testing.assert_allclose(scale.share(np.array([0, 0.1, 0.4])), [0, 0.25, 1])
    assert scale.ticks(3) == ["0", "0.2", "0.4"]


def test_a_log_scale_gives_each_power_of_ten_the_same_room():
    scale = make_scale(np.array([1e-9, 1e-2, 1.0]), "log")
    np.testing.assert_allclose(scale.share(np.array([1, 0.1, 0.01, 0.001, 1e-4, 1e-9])), [1, 0.75, 0.5, 0.25, 0, 0])
    assert scale.ticks() == ["≤ 0.0001", "0.001", "0.01", "0.1", "1"]


def test_a_rank_scale_uses_every_colour_equally_often():
    weights = np.random.default_rng(0).uniform(0, 1, 2000) ** 6
    shares = make_scale(weights, "rank").share(weights)
    counts = np.histogram(shares, bins=10, range=(0, 1))[0]
    assert counts.min() > 180
    assert counts.max() < 220
    assert np.argsort(weights).tolist() == np.argsort(shares, kind="stable").tolist()
    assert make_scale(np.array([0.5, 0.5]), "rank").share(np.array([0.5])).tolist() == [1]


def test_small_weights_are_never_written_as_zero():
    assert [weight_words(weight) for weight in (0, 0.5, 0.31567, 0.000456, 3.14e-7)] == [
        "0", "0.5", "0.316", "0.000456", "3.1e-7"
    ]  # fmt: skip

"""Figures of residual states, levels, massive dimensions and large norms, on states made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.errors import UserError
from analysis.sinks.levels import (
    LIKE_PRIMARY,
    NOISE,
    PRIMARY,
    SECONDARY,
    LevelRule,
    clip_layers,
    find_levels,
    weakening,
)
from analysis.sinks.massive import VisualSinkRule, large_norms, massive_dimensions, visual_sinks
from analysis.sinks.state_figures import primary_of, state_figures
from analysis.types import BatchStates
from tests.sinks.towers import make_tokens, make_tower


def batch(states: list[np.ndarray], added: list[np.ndarray] | None = None) -> BatchStates:
    ready = [state[None].astype(np.float32) for state in states]
    mlp = None if added is None else [state[None].astype(np.float32) for state in added]
    return BatchStates("text.dec.self", (0,), (len(states[0]),), ready, mlp)


def test_figures_by_hand():
    state = np.array([[3.0, 4, 0, 0], [0, 0, 1, 1], [-6, -8, 0, 0]])
    found = {name: values[:, 0] for name, values in state_figures(batch([state, state], [2 * state]), [0]).items()}
    np.testing.assert_allclose(found["norm"][0], [5, math.sqrt(2), 10], rtol=1e-6)
    np.testing.assert_allclose(found["cosine"][0], [1, 0, -1], atol=1e-6)
    np.testing.assert_allclose(found["peak_ratio"][0], [4 / 2.5, 1 / math.sqrt(0.5), 8 / 5], rtol=1e-6)
    assert found["peak_dim"][0].tolist() == [1, 2, 1]
    # The primary sink's two largest dimensions are 1 and 0: the second token has nothing there.
    np.testing.assert_allclose(found["massive_ratio"][0], [4 / 2.5, 0, 8 / 5], atol=1e-6)
    np.testing.assert_allclose(found["mlp_norm"], [[10, 2 * math.sqrt(2), 20]], rtol=1e-6)
    np.testing.assert_allclose(found["mlp_cosine"], [[1, 0, -1]], atol=1e-6)
    assert found["norm"].shape == (2, 3)


def test_a_ratio_is_at_most_the_root_of_the_width():
    one_hot = np.eye(16)[:3]
    assert state_figures(batch([one_hot]), [0])["peak_ratio"].max() == pytest.approx(4)
    assert "mlp_norm" not in state_figures(batch([one_hot]), [0])


def test_the_primary_sink_gets_most_and_is_seen_by_enough():
    received = np.array([[0.2, 0.5, 0.1, 0.9], [0.2, 0.3, 0.1, 0.9]], np.float32)
    assert primary_of(received, np.array([9, 8, 7, 1]), 8) == 1
    assert primary_of(received, np.array([3, 2, 1, 0]), 8) == 0
    assert primary_of(received, np.array([9, 9, 9, 9]), 8) == 3


def figures_of(cosine: np.ndarray, norm: np.ndarray, primary: int = 0) -> dict[str, np.ndarray]:
    n_points = cosine.shape[1]
    return {
        "cosine": cosine, "norm": norm, "is_primary": (np.arange(n_points) == primary).astype(float)[None],
        "mlp_norm": np.arange(len(norm) - 1)[:, None] * 10.0 + np.arange(n_points),
        "mlp_cosine": np.full((len(norm) - 1, n_points), 0.5),
    }  # fmt: skip


def test_levels_by_hand():
    # 8 layers; the primary sink's norm rises in front of layer 1 and falls in front of layer 7.
    norm = np.ones((9, 5))
    norm[1:7, 0] = 50
    cosine = np.zeros((9, 5))
    cosine[:, 0] = 1
    cosine[0:9, 1] = 0.95  # all layers: those looked at are 1 to 6
    cosine[3:6, 2] = -0.95  # from layer 3, three layers, of either sign
    cosine[2, 3] = 0.91  # one layer
    cosine[4, 4] = 0.9  # not above the cut
    score = np.zeros((8, 5))
    score[3:6, 2] = [0.3, 0.6, 0.9]
    tower = make_tower([5], 8, [0], score)
    found = find_levels(tower, figures_of(cosine, norm), make_tokens([5]), LevelRule(short=1, long=5))
    assert (found.first, found.last, found.norm_ratio) == (1, 6, 50)
    told = found.tokens.set_index("position")
    assert told["label"].to_dict() == {0: PRIMARY, 1: LIKE_PRIMARY, 2: SECONDARY, 3: NOISE}
    assert told.loc[1, ["first_layer", "lifetime"]].tolist() == [1, 6]
    assert told.loc[2, ["first_layer", "lifetime"]].tolist() == [3, 3]
    assert told.loc[2, "score"] == pytest.approx(0.6)
    assert told.loc[2, "mlp_norm"] == 22  # of layer 2, in front of which it did not point that way yet
    assert found.share == pytest.approx((6 + 3 + 1) / (4 * 6))
    levels = found.levels.set_index(["first_layer", "lifetime"])
    assert levels["n"].to_dict() == {(1, 6): 1, (2, 1): 1, (3, 3): 1}
    assert levels.loc[(3, 3), "strings"] == ["w2"]


def test_lifetimes_are_the_published_ones_in_deep_models_and_shares_in_others():
    assert LevelRule().lifetimes(32, 28) == (4, 17)
    assert LevelRule().lifetimes(48, 40) == (4, 33)
    assert LevelRule().lifetimes(12, 8) == (1, 5)
    assert LevelRule(short=2, long=3).lifetimes(12, 8) == (2, 3)
    with pytest.raises(UserError, match="between 0 and 1"):
        LevelRule(similar=1.0)


def test_without_a_large_state_all_layers_are_looked_at():
    norm = np.ones((4, 3))
    norm[:, 0] = [1, 1.5, 1.8, 1.2]
    assert clip_layers(norm, np.array([True, False, False]), LevelRule()) == (0, 3, 1.8)


def test_the_primary_sink_weakens_where_others_live():
    cosine, norm = np.zeros((4, 6)), np.ones((4, 6))
    cosine[1:3, 4] = 0.99
    figures = figures_of(cosine, norm)
    figures["is_primary"][0, 3] = 1
    score = np.tile([0.8, 0, 0, 0.2, 0, 0], (3, 1))
    tower = make_tower([3, 3], 3, [0, 3], score)
    levels = find_levels(tower, figures, make_tokens([3, 3]), LevelRule(short=1, long=3))
    told = weakening(tower, levels)
    assert told["n_with"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(told["with_secondary"], [np.nan, 0.2, 0.2], atol=1e-6)
    np.testing.assert_allclose(told["without"], [0.5, 0.8, 0.8], atol=1e-6)


def test_massive_dimensions_and_who_shares_them():
    score = np.zeros((1, 6))
    score[0, [0, 1, 3]] = 0.5
    tower = make_tower([3, 3], 1, [0, 3], score)
    figures = {"peak_dim": np.array([[7, 7, 1, 7, 2, 2.0]] * 2), "peak_ratio": np.array([[3, 2, 1, 5, 1, 1.0]] * 2)}
    told = massive_dimensions(tower, figures, 64)
    first = told.iloc[0]
    assert first[["layer", "dimension", "inputs", "ratio", "most", "shared"]].tolist() == [0, 7, 1, 4, 8, 1]
    assert np.isnan(told.iloc[1]["shared"])


def test_visual_sinks_by_the_published_cut():
    figures = {"massive_ratio": np.array([[30, 30, 30], [30, 30, 30], [21, 19, 30], [19, 21, 30.0]])}
    patch = np.array([True, True, False])
    found = visual_sinks(figures, patch, 4096)
    assert found.tolist() == [[False] * 3, [False] * 3, [True, False, False], [False, True, False]]
    assert VisualSinkRule().threshold(8192) == 20
    assert VisualSinkRule().threshold(1024) == pytest.approx(10)
    assert VisualSinkRule(ratio=3.0).threshold(1024) == 3
    with pytest.raises(UserError):
        VisualSinkRule(norm=1.0)


def test_large_norms_stand_out_of_their_own_image():
    tower = make_tower([4, 4], 1, [0, 4])
    norm = np.array([[9, 1, 1, 2.5, 9, 10, 10, 19.0]])
    patch = np.array([False, True, True, True] * 2)
    assert large_norms(norm, patch, tower).tolist() == [[False, False, False, True, False, False, False, False]]

"""Answers before and after an edit, against scipy and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax
from scipy.stats import entropy

from analysis.capture.answers import Question, before_and_after, compare_answers, largest_change


def logits() -> np.ndarray:
    """Three rows of four predictions over nine answers."""
    return np.random.default_rng(0).normal(0, 2, (3, 4, 9))


def question(targets) -> Question:
    positions = np.array([1, 2, 5, 7])
    return Question({}, 9, positions, None if targets is None else np.array(targets))


def test_every_measure_against_scipy():
    log_p = log_softmax(logits(), axis=-1)
    p, targets = np.exp(log_p), np.array([3, 0, 8, 2])
    found = before_and_after(torch.from_numpy(log_p), question(targets))
    at = np.arange(4)
    top = np.argsort(-p, axis=-1)[:, :, :5]
    for row in (1, 2):
        expected = {
            "loss": [-log_p[number, at, targets].mean() for number in (0, row)],
            "probability": [p[number, at, targets].mean() for number in (0, row)],
            "top_1_right": [(p[number].argmax(axis=-1) == targets).mean() for number in (0, row)],
            "kl_bits": [0, entropy(p[0], p[row], base=2, axis=1).mean()],
            "divergence_bits": [0, (jensenshannon(p[0], p[row], base=2, axis=1) ** 2).mean()],
            "flips": [0, (p[0].argmax(axis=-1) != p[row].argmax(axis=-1)).mean()],
            "top_5_kept": [1, np.mean([len(set(top[0, i]) & set(top[row, i])) / 5 for i in at])],
        }
        assert set(found) == set(expected)
        for name, moments in expected.items():
            np.testing.assert_allclose(found[name][row - 1], moments, atol=1e-12, err_msg=name)


def test_without_a_known_truth_nothing_is_said_of_it():
    log_p = torch.from_numpy(log_softmax(logits(), axis=-1))
    likeliest = before_and_after(log_p, question(None))
    assert "top_1_right" not in likeliest
    assert likeliest["probability"][0, 0] == pytest.approx(float(log_p[0].exp().max(dim=-1).values.mean()))
    unknown = before_and_after(log_p, question([3, -1, 8, 2]))
    assert all(np.isnan(unknown[name]).all() for name in ("loss", "probability", "top_1_right"))
    assert np.isfinite(unknown["kl_bits"]).all()


def test_the_differences_are_those_that_importance_tells():
    log_p = torch.from_numpy(log_softmax(logits(), axis=-1))
    moments = before_and_after(log_p, question([3, 0, 8, 2]))
    differences = compare_answers(log_p, question([3, 0, 8, 2]))
    np.testing.assert_allclose(differences["loss"], np.diff(moments["loss"])[:, 0])
    np.testing.assert_allclose(differences["probability"], -np.diff(moments["probability"])[:, 0])
    np.testing.assert_allclose(differences["divergence"], moments["divergence_bits"][:, 1])
    np.testing.assert_allclose(differences["flips"], moments["flips"][:, 1])


def test_the_largest_change_is_told_with_its_answers():
    log_p = log_softmax(logits(), axis=-1)
    p = np.exp(log_p)
    p[1] = p[0]
    p[1, 2] = np.roll(p[0, 2], 1)
    rows = torch.from_numpy(np.log(p))
    found = largest_change(rows[0], rows[1], question([3, 0, -1, 2]))
    assert (found.position, found.truth) == (5, None)
    assert found.kl_bits == pytest.approx(entropy(p[0, 2], p[1, 2], base=2))
    order = np.argsort(-np.abs(p[1, 2] - p[0, 2]))[:5]
    assert found.answers.tolist() == order.tolist()
    np.testing.assert_allclose(found.before, p[0, 2][order])
    np.testing.assert_allclose(found.after, p[1, 2][order])


def test_an_unchanged_row_gives_zero_exactly():
    log_p = torch.from_numpy(log_softmax(logits(), axis=-1))
    found = before_and_after(torch.stack([log_p[0], log_p[0]]), question([3, 0, 8, 2]))
    assert found.pop("divergence_bits")[0, 1] == pytest.approx(0, abs=1e-15)
    assert all(moments[0, 0] == moments[0, 1] for moments in found.values())

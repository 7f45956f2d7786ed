"""From inputs to one figure per head: means and the bootstrap."""

import numpy as np
import pandas as pd
import pytest

from analysis.metrics.over_inputs import bootstrap_interval, over_inputs


def test_the_bootstrap_matches_the_normal_interval_of_many_inputs_and_skips_unknown_ones():
    values = np.random.default_rng(1).normal(2.0, 1.0, size=(2, 2000))
    values[1, ::2] = np.nan
    low, high = bootstrap_interval(values)
    for head in range(2):
        known = values[head][np.isfinite(values[head])]
        half = 1.96 * known.std() / np.sqrt(len(known))
        assert low[head] == pytest.approx(known.mean() - half, abs=0.01)
        assert high[head] == pytest.approx(known.mean() + half, abs=0.01)


def test_a_head_known_everywhere_has_the_same_interval_beside_one_that_is_not():
    values = np.random.default_rng(2).random((2, 30))
    alone = bootstrap_interval(values[:1])
    values[1, ::3] = np.nan
    beside = bootstrap_interval(values)
    assert [end[0] for end in beside] == pytest.approx([end[0] for end in alone], abs=1e-14)


def test_one_input_has_no_interval():
    low, high = bootstrap_interval(np.array([[0.5], [np.nan]]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_over_inputs_counts_every_input_once_and_says_how_many():
    scores = pd.DataFrame(
        {
            "metric": "previous_token",
            "site": 0,
            "head": [0, 0, 0, 1],
            "input_id": [0, 1, 2, 1],
            "value": [0.1, 0.2, 0.6, 0.5],
            "null": [0.25, 0.25, 0.1, 0.25],
        }
    )
    table = over_inputs(scores).set_index("head")
    assert table.loc[0, "value"] == pytest.approx(0.3)
    assert table.loc[0, "null"] == pytest.approx(0.2)
    assert table.loc[0, ["ci_low", "ci_high"]].tolist() == pytest.approx([0.1, 0.6])
    assert table["n"].tolist() == [3, 1]
    assert np.isnan(table.loc[1, "ci_low"])

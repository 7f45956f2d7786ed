"""Head metrics against pencil and closed forms, and what every registered metric promises."""

import numpy as np
import pandas as pd
import pytest

from analysis.metrics import METRICS, AttentionMap
from analysis.metrics.over_inputs import bootstrap_interval, over_inputs, score_input
from analysis.types import Band

PENCIL = np.array([[[1, 0, 0, 0], [0.75, 0.25, 0, 0], [0.5, 0.25, 0.25, 0], [0.25, 0.25, 0.25, 0.25]]])
CAUSAL = AttentionMap(PENCIL, Band(right=0).allowed(4))


def _score(attended: AttentionMap, name: str) -> tuple[float, float]:
    value, null = score_input(attended, [name])[name]
    return value[0], null[0]


@pytest.mark.parametrize(
    ("name", "value", "null"),
    [
        # Row 0 has one allowed key and is left out of all four.
        ("entropy", (0.8112781245 + 1.5 + 2) / 3, (1 + np.log2(3) + 2) / 3),
        ("self_token", (0.25 + 0.25 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        ("previous_token", (0.75 + 0.25 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
        ("first_token", (0.75 + 0.5 + 0.25) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3),
    ],
)
def test_four_tokens_worked_out_by_hand(name, value, null):
    assert _score(CAUSAL, name) == pytest.approx((value, null), abs=1e-9)


def test_closed_forms_on_full_attention():
    n = 6
    full = np.ones((n, n), dtype=bool)
    uniform = AttentionMap(np.full((1, n, n), 1 / n), full)
    assert _score(uniform, "entropy") == pytest.approx((np.log2(n), np.log2(n)))
    for name in ("self_token", "previous_token", "first_token"):
        assert _score(uniform, name) == pytest.approx((1 / n, 1 / n))
    identity = AttentionMap(np.eye(n)[None], full)
    assert _score(identity, "self_token")[0] == 1
    assert _score(identity, "entropy")[0] == 0
    shifted = AttentionMap(np.eye(n, k=-1)[None] + np.eye(n)[0] * np.eye(n)[0][:, None], full)
    assert _score(shifted, "previous_token")[0] == 1


def test_a_learned_sink_is_one_more_outcome_of_the_entropy():
    halves = AttentionMap(np.full((1, 2, 2), 0.25), np.ones((2, 2), dtype=bool))
    assert _score(halves, "entropy")[0] == pytest.approx(1.5)  # 1/4, 1/4 and the sink's 1/2


def test_a_window_that_does_not_reach_the_first_token_leaves_the_row_out():
    allowed = Band(left=1, right=0).allowed(4)
    attention = allowed / allowed.sum(axis=1, keepdims=True)
    value, _ = _score(AttentionMap(attention[None], allowed), "first_token")
    assert value == pytest.approx(0.5)  # only query 1 reaches position 0


def test_probes_by_hand():
    """A lead token, then a b a b: query 3 (a) and 4 (b) are the second occurrence, two positions on."""
    causal = Band(right=0).allowed(5)
    attention = np.zeros((1, 5, 5))
    attention[0, [0, 1, 2], 0] = 1
    attention[0, 3, [0, 1, 2, 3]] = 0.1, 0.2, 0.6, 0.1
    attention[0, 4, [0, 1, 2, 3, 4]] = 0.3, 0.0, 0.1, 0.5, 0.1
    probe = AttentionMap(attention, causal, period=2)
    assert _score(probe, "induction") == pytest.approx(((0.6 + 0.5) / 2, (1 / 4 + 1 / 5) / 2))
    assert _score(probe, "duplicate_token") == pytest.approx(((0.2 + 0.1) / 2, (1 / 4 + 1 / 5) / 2))


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].on_probe])
def test_a_probe_metric_says_nothing_of_data_nor_where_queries_look_ahead(name):
    weights = np.full((2, 8, 8), 1 / 8)
    for attended in (AttentionMap(weights, Band(right=0).allowed(8)), AttentionMap(weights, Band().allowed(8), 4)):
        assert np.isnan(score_input(attended, [name])[name]).all()


@pytest.mark.parametrize("name", sorted(METRICS))
class TestEveryMetric:
    def _random(self, n_tokens: int, band: Band) -> AttentionMap:
        allowed = band.allowed(n_tokens)
        weights = np.random.default_rng(3).gamma(0.3, size=(5, n_tokens, n_tokens)) * allowed
        return AttentionMap(weights / weights.sum(axis=-1, keepdims=True), allowed, period=n_tokens // 2)

    @pytest.mark.parametrize("band", [Band(), Band(right=0), Band(left=2, right=0), Band(2, 2)])
    def test_gives_one_finite_figure_per_head_and_leaves_its_input_alone(self, name, band):
        attended = self._random(9, band)
        before = attended.attention.copy()
        value, null = score_input(attended, [name])[name]
        assert value.shape == null.shape == (5,)
        # Probes are for causal attention, and their span must be within its reach.
        is_told = not METRICS[name].on_probe or band == Band(right=0)
        assert (np.isfinite(value) == is_told).all()
        assert (np.isfinite(null) == is_told).all()
        assert (attended.attention == before).all()

    def test_a_single_token_says_nothing(self, name):
        value, null = score_input(AttentionMap(np.ones((2, 1, 1)), np.ones((1, 1), dtype=bool)), [name])[name]
        assert np.isnan(value).all()
        assert np.isnan(null).all()

    def test_heads_are_scored_apart(self, name):
        attended = self._random(7, Band(right=0))
        together = score_input(attended, [name])[name][0]
        alone = score_input(attended._replace(attention=attended.attention[2:3]), [name])[name][0]
        assert together[2] == pytest.approx(alone[0])

    def test_is_described_for_the_page(self, name):
        entry = METRICS[name]
        assert entry.title
        assert entry.unit
        assert entry.high
        assert "Returns" in entry.compute.__doc__
        assert "Source" in entry.compute.__doc__

    def test_the_null_is_the_mean_over_permuted_keys_or_a_stated_closed_form(self, name):
        is_probe = METRICS[name].on_probe
        attended = self._random(8, Band(right=0) if is_probe else Band())
        generator = np.random.default_rng(0)
        # Only weights of keys that may be attended to change places, row by row.
        permuted = []
        for _ in range(800):
            weights = attended.attention.copy()
            for query, allowed in enumerate(attended.allowed):
                weights[:, query, allowed] = generator.permuted(weights[:, query, allowed], axis=-1)
            permuted.append(score_input(attended._replace(attention=weights), [name])[name][0])
        null = score_input(attended, [name])[name][1]
        if name == "entropy":
            assert null == pytest.approx(np.full(5, 3.0))
        else:
            assert np.mean(permuted, axis=0) == pytest.approx(null, abs=0.015 if is_probe else 0.01)


def test_the_bootstrap_matches_the_normal_interval_of_many_inputs_and_skips_unknown_ones():
    values = np.random.default_rng(1).normal(2.0, 1.0, size=(2, 2000))
    values[1, ::2] = np.nan
    low, high = bootstrap_interval(values)
    for head in range(2):
        known = values[head][np.isfinite(values[head])]
        half = 1.96 * known.std() / np.sqrt(len(known))
        assert low[head] == pytest.approx(known.mean() - half, abs=0.01)
        assert high[head] == pytest.approx(known.mean() + half, abs=0.01)


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

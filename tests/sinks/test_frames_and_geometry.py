"""Reference frames by closed forms, and the geometry of a key made to be a sink."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.errors import UserError
from analysis.sinks.frames import BIDIRECTIONAL, CENTRALISED, DISTRIBUTED, NO_FRAME, FrameRule, frame_of
from analysis.sinks.geometry import head_geometry
from tests.sinks.towers import make_tower


def towards(n: int, **mass: float) -> np.ndarray:
    """Every query puts these shares on the keys ``k0``, ``k5`` ... and the rest evenly on all."""
    row = np.full(n, (1 - sum(mass.values())) / n)
    for name, share in mass.items():
        row[int(name[1:])] += share
    return np.tile(row, (n, 1))


def test_even_attention_has_no_frame():
    found = frame_of(np.full((10, 10), 0.1))
    assert (found.label, found.n_anchors) == (NO_FRAME, 0)
    assert (found.gini, found.hhi) == (pytest.approx(0), pytest.approx(0.1))
    assert found.centralisation == pytest.approx(0, abs=1e-12)
    assert found.fiedler == pytest.approx(1)  # of the complete graph with weights 1/n: n * 1/n


def test_a_star_is_centralised():
    n = 10
    found = frame_of(towards(n, k3=1.0))
    assert (found.label, found.n_anchors) == (CENTRALISED, 1)
    assert (found.hhi, found.centralisation) == (pytest.approx(1), pytest.approx(1))
    assert found.gini == pytest.approx(1 - 1 / n)
    assert found.fiedler == pytest.approx(0.5)  # of a star with weights 1/2
    assert found.alignment == pytest.approx(0.5)  # the centre has half of a star's top eigenvector


def test_tokens_that_look_at_themselves_alone_fall_apart():
    assert frame_of(np.eye(6)).fiedler == pytest.approx(0, abs=1e-12)


def test_two_ends_and_many_anchors():
    assert frame_of(towards(40, k0=0.3, k39=0.3)).label == BIDIRECTIONAL
    assert frame_of(towards(40, k0=0.3, k20=0.3)).label == DISTRIBUTED
    assert frame_of(towards(40, k5=0.2, k15=0.2, k25=0.2)).label == DISTRIBUTED
    assert frame_of(towards(40, k0=0.6, k39=0.15)).label == CENTRALISED


def test_bounds_of_the_rule():
    with pytest.raises(UserError, match="give shares"):
        FrameRule(most=0.2)


class Vectors:
    """One head of one site on two inputs of three tokens."""

    keys_held = np.array([[4, 0], [0, 1], [0, 1], [2, 0], [0, 3], [0, 3]], np.float32)
    queries_held = np.array([[1, 0], [2, 0], [3, 0], [1, 0], [1, 0], [1, 0]], np.float32)

    def inputs(self):
        return pd.DataFrame({"input_id": [10, 20], "n_tokens": [3, 3]})

    def queries(self, site, head, inputs):
        return self.queries_held

    def keys(self, site, head, inputs):
        return self.keys_held

    def value_norms(self, site, head):
        return np.array([0.5, 1, 2, 0.1, 4, 4], np.float32)


def test_geometry_by_hand():
    told = head_geometry(Vectors(), make_tower([3, 3], 1, [0, 3])).iloc[0]
    assert told["key_norm_sink"] == pytest.approx(3)
    assert told["key_norm_others"] == pytest.approx((1 + 3) / 2)
    assert told["value_norm_sink"] == pytest.approx(0.3)
    assert told["value_norm_others"] == pytest.approx((1.5 + 4) / 2)
    assert told["angle_sink_deg"] == pytest.approx(0, abs=1e-3)
    assert told["angle_others_deg"] == pytest.approx(90, abs=1e-3)
    assert told["n"] == 2

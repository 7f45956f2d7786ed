"""Weights of both signs, as the implicit attention of state-space layers has them, in colours and lists."""

from __future__ import annotations

import numpy as np
import pytest

from app.charts.head_maps import make_overview
from app.charts.ramps import viridis
from app.charts.scales import make_scale
from app.charts.shown import each_alone, show_attention, strongest
from app.palette import RDBU, VIRIDIS

SIGNED = np.array([[0.5, np.nan], [-2.0, 0.25]])


@pytest.mark.parametrize("name", ["linear", "log", "rank"])
def test_zero_is_the_middle_and_signs_lie_as_far_from_it(name: str) -> None:
    scale = make_scale(SIGNED, name)
    assert scale.is_signed
    assert scale.ramp == RDBU
    np.testing.assert_allclose(scale.share(np.array([-2.0, 0.0, 2.0])), [0, 0.5, 1], atol=1e-9)
    some = np.array([0.25, 0.5, 1.0])
    np.testing.assert_allclose(scale.share(some) - 0.5, 0.5 - scale.share(-some), atol=1e-9)
    assert scale.ticks(5)[2] == "0"
    assert make_scale(np.abs(SIGNED), name).ramp == VIRIDIS


def test_the_strongest_are_the_largest_by_size_and_keep_their_sign() -> None:
    keys, weights = strongest(np.array([[0.1, -0.9, 0.4]]), np.array([[True, True, True]]), n=2)
    assert keys.tolist() == [[1, 2]]
    np.testing.assert_allclose(weights, [[-0.9, 0.4]])


def test_rows_of_signed_weights_are_not_scaled_up() -> None:
    weights, allowed = np.array([[0.5, -0.25], [0.25, 1.0]], np.float32), np.ones((2, 2), bool)
    shown = show_attention(weights, allowed, np.array([True, False]), each_alone(2), scales=False)
    np.testing.assert_allclose(shown.weights, [[1.0]])


def test_an_overview_keeps_the_larger_of_both_signs() -> None:
    from io import BytesIO

    from PIL import Image

    matrix = np.zeros((680, 680), dtype=np.float32)
    matrix[0, 1], matrix[0, 0], matrix[-1, -1] = -1.0, 0.5, 1.0
    picture = Image.open(BytesIO(make_overview(matrix, make_scale(matrix)))).convert("RGB")
    first, last = picture.getpixel((0, 0)), picture.getpixel((picture.width - 1, picture.height - 1))
    assert first == tuple(viridis(np.array(0.0), RDBU).tolist())
    assert last == tuple(viridis(np.array(1.0), RDBU).tolist())

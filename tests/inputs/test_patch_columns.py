"""Patch columns against closed forms."""

import colorsys

import numpy as np
import pytest

from analysis.inputs.patch_columns import describe_patches, hue_and_saturation, main_objects, patch_means


def image(*rows):
    return np.array(rows, dtype=np.float32)


RED, GREEN, BLUE, GREY = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0.5)


def test_one_colour_a_patch():
    seen = np.repeat(np.repeat(image([RED, GREEN], [BLUE, GREY]), 4, axis=0), 4, axis=1)
    found = describe_patches(seen, 2, 2, 4, 4)
    assert found["hue"][:3] == pytest.approx([0, 120, 240])
    assert np.isnan(found["hue"][3])
    assert found["saturation"] == pytest.approx([1, 1, 1, 0])
    assert found["luminance"] == pytest.approx([0.2126, 0.7152, 0.0722, 0.5])


def test_hue_is_a_circular_mean_weighted_by_saturation():
    either_side = image([(1, 0, 0.25), (1, 0.25, 0)])  # 345 and 15 degrees: their mean is 0, not 180
    assert describe_patches(either_side, 1, 1, 1, 2)["hue"][0] % 360 == pytest.approx(0, abs=1e-4)
    pale_blue = image([(1, 0, 0), (1, 1, 1)])  # white has no say
    assert describe_patches(pale_blue, 1, 1, 1, 2)["hue"][0] == pytest.approx(0)
    half = image(
        [(1, 0, 0), (0.5, 1, 0.5)]
    )  # saturations 1 and 0.5, hues 0 and 120: tan = 0.5 sin 120 / (1 + 0.5 cos 120)
    expected = np.rad2deg(np.arctan2(0.5 * np.sin(np.deg2rad(120)), 1 + 0.5 * np.cos(np.deg2rad(120))))
    assert describe_patches(half, 1, 1, 1, 2)["hue"][0] == pytest.approx(expected)


def test_opposite_colours_have_no_hue():
    assert np.isnan(describe_patches(image([(1, 0, 0), (0, 1, 1)]), 1, 1, 1, 2)["hue"][0])


def test_hue_and_saturation_are_those_of_hsv():
    seen = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
    hue, saturation = hue_and_saturation(seen)
    for at in np.ndindex(5, 7):
        expected = colorsys.rgb_to_hsv(*seen[at].astype(float))
        assert (hue[at] / 360, saturation[at]) == pytest.approx(expected[:2], abs=1e-6)


def test_edge_energy_of_a_ramp_is_its_slope():
    ramp = np.repeat(np.linspace(0, 0.8, 9)[None, :, None], 9, axis=0).repeat(3, axis=2).astype(np.float32)
    for seen in (ramp, ramp.transpose(1, 0, 2)):
        assert describe_patches(seen, 3, 3, 3, 3)["edge_energy"] == pytest.approx([0.1] * 9, abs=1e-6)
    diagonal = ((ramp + ramp.transpose(1, 0, 2)) / 2).astype(np.float32)
    assert describe_patches(diagonal, 1, 1, 9, 9)["edge_energy"] == pytest.approx([0.05 * 2**0.5], abs=1e-6)
    assert describe_patches(np.full((4, 4, 3), 0.3, np.float32), 1, 1, 4, 4)["edge_energy"] == pytest.approx([0])


def test_patches_are_row_major_and_may_be_oblong():
    values = np.arange(24.0).reshape(4, 6)
    assert patch_means(values, 2, 2, 2, 3).tolist() == [4.0, 7.0, 16.0, 19.0]
    assert patch_means(values, 1, 2, 2, 2).tolist() == [3.5, 5.5]  # the rest is left out
    assert patch_means(values, 1, 1, 4, 7)[0] == pytest.approx(np.pad(values, [(0, 0), (0, 1)], mode="edge").mean())


def test_main_objects():
    mask = np.array([[0, 0, 2, 2], [0, 1, 2, 9], [1, 1, 9, 9], [0, 0, 9, 9]])
    assert main_objects(mask, {1: "cat", 2: "dog"}, 2, 2, 2, 2) == ["background", "dog", "background", "object 9"]
    assert main_objects(mask, {0: "sky"}, 1, 1, 2, 2) == ["sky"]


def test_the_image_is_left_alone():
    seen = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    before = seen.copy()
    describe_patches(seen, 2, 2, 4, 4)
    assert np.array_equal(seen, before)

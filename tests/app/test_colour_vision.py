"""Colours stay apart for people with colour-vision deficiencies, by a published simulation and a published distance.

Sources: Machado, Oliveira and Fernandes (2009), "A Physiologically-based Model for Simulation of Color Vision
Deficiency", IEEE TVCG 15(6), matrices of severity 1.0, applied in linear RGB; CIEDE2000 as in Sharma, Wu and Dalal
(2005), "The CIEDE2000 Color-Difference Formula", Color Research & Application 30(1). A distance of 1 is about the
smallest difference that can be seen side by side.
"""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from app.palette import KEY, OKABE_ITO, QUERY, QUIET, RDBU, SELECTED, TWILIGHT, VIRIDIS
from tests.app.test_contrast import LARGE, REPOSITORY, THEME, channels, contrast

VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ.sum(axis=1)

APART = 8.0
"""CIEDE2000 that colours keep at least. The nearest: key and selection under tritanopia, 9; there the selection is also
told by its ring, frame or line, as keys are from queries by their shape."""

POINTS = 0.62
"""Opacity of points on a map coloured by kind (`components/scatter/scatter.js`)."""


def lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB under D65, from linear RGB."""
    part = XYZ @ np.clip(linear, 0, 1) / WHITE
    root = np.where(part > 216 / 24389, np.cbrt(part), (24389 / 27 * part + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def seen(colour: tuple[float, float, float], vision: str) -> np.ndarray:
    """CIELAB of what a person of that vision sees; `colour` is sRGB, channels 0 to 1."""
    values = np.array(colour)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return lab(VISION[vision] @ linear)


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Sharma et al. (2005), equations 2 to 22, with all weights 1."""
    (light_1, a_1, b_1), (light_2, a_2, b_2) = one, other
    chroma = (np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c_1, c_2 = np.hypot(a_1 * stretch, b_1), np.hypot(a_2 * stretch, b_2)
    h_1, h_2 = (np.degrees(np.arctan2(b, a * stretch)) % 360 for a, b in ((a_1, b_1), (a_2, b_2)))
    turn = 0.0 if c_1 * c_2 == 0 else (h_2 - h_1 + 180) % 360 - 180
    hue = h_1 + h_2 if c_1 * c_2 == 0 else (h_1 + turn / 2) % 360
    light, c = (light_1 + light_2) / 2, (c_1 + c_2) / 2
    waves = [(-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63)]
    t = 1 + sum(size * np.cos(np.radians(times * hue + shift)) for size, times, shift in waves)
    of_light = (light_2 - light_1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    of_chroma = (c_2 - c_1) / (1 + 0.045 * c)
    of_hue = 2 * np.sqrt(c_1 * c_2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * c * t)
    spin = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    rotation = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * spin
    return float(np.sqrt(of_light**2 + of_chroma**2 + of_hue**2 + rotation * of_chroma * of_hue))


def distance(one: tuple[float, float, float], other: tuple[float, float, float], vision: str) -> float:
    return ciede2000(seen(one, vision), seen(other, vision))


def over(colour: str, ground: str, opacity: float) -> tuple[float, float, float]:
    return tuple(opacity * a + (1 - opacity) * b for a, b in zip(channels(colour), channels(ground)))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_is_that_of_the_published_pairs(one, other, expected):
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)


def test_greys_stay_and_red_and_green_come_close_without_one_kind_of_cone():
    for vision, matrix in VISION.items():
        assert matrix.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
        assert seen((1, 1, 1), vision) == pytest.approx([100, 0, 0], abs=0.01)
    red, green = channels("#B05A3C"), channels("#6E7A3C")
    assert distance(red, green, "normal") > 3 * distance(red, green, "deuteranopia")


@pytest.mark.parametrize("vision", VISION)
def test_query_key_and_selection_stay_apart(vision):
    for one, other in combinations([QUERY, KEY, SELECTED], 2):
        assert distance(channels(one), channels(other), vision) >= APART, f"{one} {other}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_points_as_they_are_drawn_stay_apart_from_each_other_and_from_the_ground(theme, vision):
    ground = THEME[theme]["backgroundColor"]
    marks = [over(QUERY, ground, POINTS), over(KEY, ground, POINTS), channels(SELECTED)]
    for one, other in combinations([*marks, channels(ground)], 2):
        assert distance(one, other, vision) >= 1.5 * APART
    script = (REPOSITORY / "app" / "components" / "scatter" / "scatter.js").read_text()
    assert f'colour.kind === "kind" ? {POINTS} :' in script


@pytest.mark.parametrize("vision", VISION)
def test_categories_and_ramps_keep_their_order_and_their_ends(vision):
    for one, other in combinations(OKABE_ITO, 2):
        assert distance(channels(one), channels(other), vision) >= APART, f"{one} {other}"
    lightness = [seen(channels(each), vision)[0] for each in VIRIDIS]
    assert np.diff(lightness).min() > 4
    assert distance(channels(RDBU[1]), channels(RDBU[-2]), vision) >= 3 * APART


FAINT = {"light": {"#E69F00", "#56B4E9", "#F0E442"}, "dark": set()}
"""Categories whose points do not reach 3 to 1 on the ground (WCAG 2.2, 1.4.11): known, the palette is Okabe and Ito's
own. What they are is also told in the legend, beside the pointer and in the table."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_which_marks_are_faint_on_the_ground_is_known(theme):
    ground = channels(THEME[theme]["backgroundColor"])
    assert {each for each in (*OKABE_ITO, QUIET) if contrast(channels(each), ground) < LARGE} == FAINT[theme]


def test_components_have_no_colours_of_their_own():
    """Every colour in styles and scripts is one of the palette, black or white."""
    known = {QUERY, KEY, SELECTED, QUIET, *OKABE_ITO, *VIRIDIS, *TWILIGHT, *RDBU, "#000", "#FFF", "#000000", "#FFFFFF"}
    files = [*(REPOSITORY / "app" / "components").rglob("*.css"), *(REPOSITORY / "app" / "components").rglob("*.js")]
    used = {
        each.upper() for file in files for each in re.findall(r"#[0-9A-Fa-f]{6}\b|#[0-9A-Fa-f]{3}\b", file.read_text())
    }
    assert QUERY in used
    assert used <= known

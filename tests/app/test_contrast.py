"""Words can be read in both themes: contrast computed from the theme and from the style, as WCAG 2.2 counts it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from app.palette import KEY, QUERY, SELECTED

REPOSITORY = Path(__file__).resolve().parents[2]
THEME = tomllib.loads((REPOSITORY / ".streamlit" / "config.toml").read_text())["theme"]
STYLE = "".join((REPOSITORY / "app" / name).read_text() for name in ("style.py", "components/shared.css"))
TEXT, LARGE = 4.5, 3.0
"""WCAG 2.2, 1.4.3 and 1.4.11: text, and large text or the edge of a control or a mark."""


def channels(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))


def luminance(colour: tuple[float, float, float]) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2.2, glossary)."""
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(text: str, ground: str, share: float) -> tuple[float, float, float]:
    return tuple(share * a + (1 - share) * b for a, b in zip(channels(text), channels(ground)))


def grey_shares() -> set[float]:
    """How much of the text colour is left in grey text, wherever the style says so."""
    found = re.findall(r"color-mix\(in srgb, (?:currentColor|var\(--st-text-color\)) (\d+)%", STYLE)
    return {int(each) / 100 for each in found}


def grounds(theme: str) -> list[str]:
    own = THEME[theme]
    return [own["backgroundColor"], own["secondaryBackgroundColor"], own["sidebar"]["backgroundColor"]]


def test_black_on_white_is_21_to_1():
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast(channels("#777777"), (1, 1, 1)) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_grey_text_can_be_read_on_every_ground(theme):
    assert grey_shares()
    for ground in grounds(theme):
        assert contrast(channels(THEME[theme]["textColor"]), channels(ground)) >= 7
        for share in grey_shares():
            assert contrast(mixed(THEME[theme]["textColor"], ground, share), channels(ground)) >= TEXT
        assert contrast(channels(THEME[theme]["linkColor"]), channels(ground)) >= TEXT


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_main_buttons_can_be_read(theme):
    own = THEME[theme]
    assert contrast(channels(own["backgroundColor"]), channels(own["primaryColor"])) >= TEXT
    inks = re.search(r"stBaseButton-primary.*?light-dark\((#\w{6}), (#\w{6})\)", STYLE, re.DOTALL).groups()
    assert inks[theme == "dark"] == own["backgroundColor"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", [QUERY, KEY, SELECTED])
def test_words_in_the_colour_of_a_mark_can_be_read(theme, colour):
    shares = re.findall(rf"color-mix\(in srgb, {colour} (\d+)%, (?:currentColor|var\(--st-text-color\))", STYLE)
    assert len(shares) == 2
    for ground in grounds(theme):
        for share in shares:
            mixture = mixed(colour, THEME[theme]["textColor"], int(share) / 100)
            assert contrast(mixture, channels(ground)) >= TEXT


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", [QUERY, KEY, SELECTED])
def test_marks_stand_out_from_the_ground(theme, colour):
    assert contrast(channels(colour), channels(THEME[theme]["backgroundColor"])) >= LARGE

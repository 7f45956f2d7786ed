"""From weights to colours: linear, logarithmic or by rank, with a colour bar whose ticks are weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from app.palette import RDBU, VIRIDIS

SCALES = {"linear": "Linear", "log": "Log", "rank": "Rank"}
"""Name in the link and on the page."""

DECADES = 4
"""A logarithmic scale reaches so many powers of ten below the largest weight."""

_KNOTS = 97
RANKED = 400_000
"""About so many evenly spaced weights are ranked for all of them."""


@dataclass(frozen=True)
class ColourScale:
    """How far up the colour ramp a weight lies: straight lines between knots, the same here and in the browser.

    Attributes:
        name: ``linear``, ``log`` or ``rank``.
        weights: Of the knots, strictly ascending.
        shares: Of the knots, 0..1: 0 the bottom of the ramp, 1 the top.
        is_signed: Zero is the middle of the ramp, and a weight and its negative lie as far from it.
    """

    name: str
    weights: Float[np.ndarray, " knot"]
    shares: Float[np.ndarray, " knot"]
    is_signed: bool = False

    @property
    def ramp(self) -> tuple[str, ...]:
        """The colours, from the bottom up."""
        return RDBU if self.is_signed else VIRIDIS

    def share(self, weights: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
        """The place of each weight on the ramp, 0..1; NaN stays NaN."""
        places = np.interp(weights, self.weights, self.shares)
        return np.where(np.isnan(weights), np.nan, places)

    def weight(self, share: float) -> float:
        """The weight drawn at a place of the ramp."""
        return float(np.interp(share, self.shares, self.weights))

    def ticks(self, n: int = 5) -> list[str]:
        """Weights at `n` places evenly up the ramp, as words; the lowest of a log scale stands for all below it."""
        words = [weight_words(self.weight(share)) for share in np.linspace(0, 1, n)]
        if self.is_signed:  # about zero a log scale ends
            words[n // 2] = "0"
            return words
        return [f"≤ {words[0]}", *words[1:]] if self.name == "log" else words


def make_scale(weights: Float[np.ndarray, ...], name: str = "linear") -> ColourScale:
    """The scale for a picture.

    Args:
        weights: All that the picture may show; NaN where there is nothing. With negative ones among them the scale is
            that of their sizes, once upwards and once downwards from zero.
        name: ``linear``: from 0 to the largest; ``log``: `DECADES` powers of ten up to the largest; ``rank``: the
            share of weights that are no larger, so that every colour is used equally often.
    """
    known = np.asarray(weights, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size and float(known.min()) < 0:
        return _both_ways(make_scale(np.abs(known), name))
    top = float(known.max()) if known.size else 1.0
    top = top if top > 0 else 1.0
    if name == "log":
        return ColourScale(name, np.geomspace(top / 10**DECADES, top, _KNOTS), np.linspace(0, 1, _KNOTS))
    if name == "rank" and known.size > 1:
        return _by_rank(known, top)
    return ColourScale("linear", np.array([0.0, top]), np.array([0.0, 1.0]))


def _both_ways(sizes: ColourScale) -> ColourScale:
    weights, shares = sizes.weights, sizes.shares
    if weights[0] <= 0:
        weights, shares = weights[1:], shares[1:]
    weights, shares = (np.concatenate([-part[::-1], [0.0], part]) for part in (weights, shares))
    return ColourScale(sizes.name, weights, 0.5 + shares / 2, is_signed=True)


def _by_rank(known: np.ndarray, top: float) -> ColourScale:
    step = -(-known.size // RANKED)
    # Evenly spaced ones stand for millions: their ranks differ by less than a colour does.
    return scale_by_rank(known[::step], top)


def scale_by_rank(sample: Float[np.ndarray, " weight"], top: float) -> ColourScale:
    """The scale ``rank`` from a fair sample of the weights, the largest of which is `top`."""
    shares = np.linspace(0, 1, _KNOTS)
    quantiles = np.quantile(np.asarray(sample, dtype=np.float64), shares)
    quantiles[-1] = top
    ascending, last = np.unique(quantiles[::-1], return_index=True)
    shares = shares[::-1][last]
    if len(ascending) == 1:
        return ColourScale("rank", np.array([0.0, top]), np.array([0.0, 1.0]))
    return ColourScale("rank", ascending, shares)


def weight_words(weight: float) -> str:
    """A weight in three significant digits, never a zero that is none: ``0.316``, ``0.00012``, ``3.1e-7``."""
    if weight == 0:
        return "0"
    if abs(weight) >= 1e-4:
        return np.format_float_positional(weight, precision=3, unique=False, fractional=False, trim="-")
    digits, _, power = f"{weight:.1e}".partition("e")
    return f"{digits}e{int(power)}"


def weight_exactly(weight: float) -> str:
    """Four significant digits, as everywhere that a weight is told at the pointer: ``0.04736``, ``4.674e-6``."""
    if weight == 0 or np.isnan(weight):
        return "0" if weight == 0 else ""
    if abs(weight) >= 1e-4:
        return f"{weight:.{max(0, 3 - int(np.floor(np.log10(abs(weight)))))}f}"
    digits, _, power = f"{weight:.3e}".partition("e")
    return f"{digits}e{int(power)}"

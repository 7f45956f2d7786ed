"""One head's points as the card beside the atlas draws them: small, in the colours of the page, marked ones on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from app.charts.atlas_sprite import tones
from app.charts.colouring import Colouring
from app.palette import KEY, QUERY, QUIET

MOST_TOKENS = 6000
"""More tokens than this are thinned out evenly: the card is 220 pixels wide."""


@dataclass(frozen=True)
class CardPoints:
    """What to draw, in drawing order.

    Attributes:
        places: Across and down, 0 to 255.
        tones: Place of each point's colour in `colours`.
        colours: Hexadecimal.
        faint: The colour of points outside the marked set; larger numbers are marked. -1 when nothing is marked.
        picked: ``(0 for the query or 1 for the key, across, down)`` of the picked token, the key first.
    """

    places: UInt8[np.ndarray, "point axis"]
    tones: UInt8[np.ndarray, " point"]
    colours: list[str]
    faint: int
    picked: list[tuple[int, int, int]]


def card_points(
    queries: Float[np.ndarray, "token axis"],
    keys: Float[np.ndarray, "token axis"],
    colouring: Colouring,
    marked: Bool[np.ndarray, " token"] | None = None,
    picked: int | None = None,
) -> CardPoints:
    """Lay out one head for the card.

    Args:
        queries, keys: Its map; only the first two axes are drawn. NaN for tokens that have no such point.
        colouring: Of all points.
        marked: The tokens that stand out, or None.
        picked: Row of the picked token.
    """
    n_tokens = len(queries)
    points = np.vstack([queries, keys])[:, :2]
    there = np.isfinite(points[:, 0])
    places = _into_bytes(points)
    colours, codes = tones(colouring)
    faint = -1
    if marked is not None:
        faint = len(colours)
        colours = [*colours, QUIET, QUERY, KEY]
        kinds = np.repeat(np.array([1, 2], dtype=np.uint8), n_tokens)
        codes = np.where(np.tile(marked, 2), faint + kinds, faint).astype(np.uint8)
    drawn = np.arange(0, n_tokens, -(-n_tokens // MOST_TOKENS))
    if marked is not None:
        drawn = np.union1d(drawn, np.flatnonzero(marked))
    drawn = np.concatenate([drawn, n_tokens + drawn])
    drawn = drawn[there[drawn]]
    if marked is not None:
        drawn = drawn[np.argsort(codes[drawn] > faint, kind="stable")]
    of_picked = [] if picked is None else [(kind, kind * n_tokens + picked) for kind in (1, 0)]
    rings = [(kind, *places[at].tolist()) for kind, at in of_picked if there[at]]
    return CardPoints(places[drawn], codes[drawn], colours, faint, rings)


def _into_bytes(points: Float[np.ndarray, "point axis"]) -> UInt8[np.ndarray, "point axis"]:
    low, high = np.nanquantile(points, [0.0025, 0.9975], axis=0)
    span = max(float((high - low).max()), 1e-9)
    unit = (points - (low + high) / 2) / span + 0.5
    unit[:, 1] = 1 - unit[:, 1]
    return np.rint(np.clip(np.nan_to_num(unit), 0, 1) * 255).astype(np.uint8)

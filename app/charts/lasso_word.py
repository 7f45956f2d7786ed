"""A lasso as one word of the link: the map it was drawn on, its corners, and what was filtered away when it was drawn.

The word is nine parts joined by ``~``: head, map, frame, corners, turn, hidden kinds, hidden classes, the range kept
and the colouring they belong to; what is empty at the end is left out. Corners are steps of a grid of `GRID` x `GRID`
over the frame, two letters a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from analysis.errors import InputError

MOST_CORNERS = 120
GRID = 4096
LEAST_AREA = 17.0
"""In steps of the grid: a corner whose triangle with its neighbours is smaller (a millionth of the frame) goes."""

LONGEST_WORD = 4 * MOST_CORNERS + 400
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PARTS = 9
_UNREADABLE = "The link’s lasso cannot be read, it was cut or changed on its way: clear it, or draw it again on a map."


@dataclass(frozen=True)
class Lasso:
    """A line drawn round points of a map.

    Attributes:
        site, head, map: Where it was drawn.
        polygon: Corners in order; coordinates of a flat map, or of the plane in which a turned one was seen.
        turn: How a 3-D map was turned, as yaw and pitch in radians; None for a flat one.
        kinds, hide, range: What the legend hid then, as the link says it (see `app.charts.colouring.kept_points`).
    """

    site: str
    head: int
    map: str
    polygon: Float[np.ndarray, "corner 2"]
    turn: tuple[float, float] | None = None
    kinds: str | None = None
    hide: str | None = None
    range: str | None = None

    @property
    def colour(self) -> str | None:
        """The colouring that `hide` and `range` belong to; None where neither is said."""
        said = self.hide or self.range
        return said.rpartition(":")[0] if said else None

    @property
    def rotation(self) -> list[float] | None:
        """Nine numbers column by column, as the browser turns the map; None for a flat one."""
        if self.turn is None:
            return None
        (cy, cp), (sy, sp) = np.cos(self.turn).tolist(), np.sin(self.turn).tolist()
        return [cy, sp * sy, -cp * sy, 0.0, cp, sp, sy, -sp * cy, cp * cy]


def drawn_lasso(
    site: str,
    head: int,
    map_name: str,
    polygon: Float[np.ndarray, "corner 2"],
    turn: Sequence[float] | None = None,
    middle: Sequence[float] | None = None,
    **filters: str | None,
) -> Lasso:
    """The lasso that the browser tells of.

    Args:
        polygon: In the plane of the screen, relative to `middle`.
        turn: Nine numbers column by column; None where the map is flat.
        middle: What lies at the origin of the polygon's plane; None for the map's own origin.
        filters: ``kinds``, ``hide`` and ``range``, as in the link.
    """
    moved, angles = np.zeros(2) if middle is None else np.asarray(middle, dtype=float)[:2], None
    if turn is not None:
        moved = (np.asarray(middle or (0, 0, 0), dtype=float) @ np.reshape(turn, (3, 3)))[:2]
        angles = (float(np.arctan2(turn[6], turn[0])), float(np.arctan2(turn[5], turn[4])))
    return Lasso(site, head, map_name, np.asarray(polygon, dtype=float).reshape(-1, 2) + moved, angles, **filters)


def write_lasso(lasso: Lasso) -> str:
    """The word for the link; of the corners the `MOST_CORNERS` that matter most for the shape stay."""
    low, size = lasso.polygon.min(axis=0), np.maximum(np.ptp(lasso.polygon, axis=0), 1e-9)
    steps = _simplified(np.rint((lasso.polygon - low) / size * (GRID - 1)).astype(np.int64))
    hide, ends = ((word or "").rpartition(":")[2] for word in (lasso.hide, lasso.range))
    parts = [
        f"{lasso.site}.{lasso.head}", lasso.map, _numbers((*low, *size), 8),
        "".join(_LETTERS[step // 64] + _LETTERS[step % 64] for step in steps.ravel().tolist()),
        _numbers(lasso.turn or (), 6), lasso.kinds or "", hide, ends.replace("~", "_"), lasso.colour or "",
    ]  # fmt: skip
    while not parts[-1]:
        parts.pop()
    return "~".join(parts)


def read_lasso(word: str) -> Lasso:
    """The lasso that `write_lasso` wrote.

    Raises:
        InputError: The word is not what it wrote; one sentence.
    """
    parts = word.split("~", _PARTS - 1)
    parts += [""] * (_PARTS - len(parts))
    place, map_name, frame, letters, turn, kinds, hide, ends, colour = parts
    site, _, head = place.rpartition(".")
    try:
        bounds, angles = _read_numbers(frame, 4), _read_numbers(turn, 2) if turn else None
        if len(word) > LONGEST_WORD or not head.isascii() or not head.isdigit() or len(letters) % 4:
            raise ValueError(word)
        steps = np.array([_LETTERS.index(letter) for letter in letters]).reshape(-1, 2, 2) @ [64, 1]
    except ValueError:
        raise InputError(_UNREADABLE) from None
    if not 3 <= len(steps) <= MOST_CORNERS:
        raise InputError(_UNREADABLE)
    low, size = np.array(bounds[:2]), np.array(bounds[2:])
    return Lasso(
        site, int(head), map_name, low + steps / (GRID - 1) * size, angles and (angles[0], angles[1]), kinds or None,
        f"{colour}:{hide}" if hide else None, f"{colour}:{ends.replace('_', '~')}" if ends else None,
    )  # fmt: skip


def _simplified(corners: Int[np.ndarray, "corner 2"]) -> Int[np.ndarray, "fewer 2"]:
    """Without the corners that matter least for the shape: the smallest triangle first (Visvalingam, Whyatt 1993)."""
    while len(corners) > 3:
        before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
        areas = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) / 2
        if len(corners) <= MOST_CORNERS and areas.min() >= LEAST_AREA:
            break
        corners = np.delete(corners, areas.argmin(), axis=0)
    return corners


def _numbers(values: Sequence[float], digits: int) -> str:
    return "_".join(f"{value:.{digits}g}" for value in values)


def _read_numbers(words: str, count: int) -> list[float]:
    found = [float(word) for word in words.split("_")]
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(words)
    return found

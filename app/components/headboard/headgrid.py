"""The grid of the headboard without its scatter: a measure of all heads of one tower, in little room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.charts.head_grid import Shades
from app.components import answered, heard, pack, register
from app.components.headboard import Head, Tower, ramp_header

_mount = register("headboard", "headgrid", parts=("grid", "tip"))


@dataclass(frozen=True)
class Grid:
    """What is drawn.

    Attributes:
        heads: All heads; they have no place in a scatter.
        tower: How they are laid out.
        shades: The scale of the cells.
        picked: Row of the head in hand.
        alt: What the grid shows, for a screen reader.
        high: Room for it, in pixels.
    """

    heads: Sequence[Head]
    tower: Tower
    shades: Shades
    picked: int | None
    alt: str
    high: int


def headgrid(grid: Grid, on_pick: Callable[[int | None], None], *, key: str) -> int | None:
    """Draw it.

    Args:
        on_pick: Called with the row of the head that was clicked; with None when it was let go.

    Returns:
        Row of the head to open, or None.
    """

    def pick() -> None:
        if (said := heard(key, "pick")) is not None:
            on_pick(said["row"])

    header = {
        "heads": [vars(head) for head in grid.heads],
        "towers": [{**vars(grid.tower), "rows": [vars(row) for row in grid.tower.rows]}],
        "shades": ramp_header(grid.shades), "picked": grid.picked, "alt": ["", grid.alt], "high": grid.high,
        "answered": answered(key),
    }  # fmt: skip
    opened = _mount(key=key, data=pack(header, {}, again=True), on_pick_change=pick, on_open_change=lambda: None).open
    return None if opened is None else int(opened["row"])

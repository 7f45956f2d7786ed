"""Scatter and grid of the same heads, linked: a head pointed at or picked in one is so in the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.charts.head_grid import Shades
from app.charts.head_order import Row
from app.charts.head_scatter import Axis
from app.components import answered, heard, pack, register
from app.palette import SELECTED

_mount = register("headboard", parts=("plot", "grid", "tip"))


@dataclass(frozen=True)
class Head:
    """One head on the board.

    Attributes:
        name: As in ``L2H4``.
        site, head: Label of its site, index in it.
        is_out: The filter leaves it out: it is dimmed.
        says: Lines under the pointer; the first names it.
        text: The value in its cell; empty where the measure says nothing of it.
        colour, ink: Of its cell and of the text in it; None without a value.
        x, y: Its dot as shares of the axes from the low end; None where a measure says nothing of it.
        radius: Of the dot, in pixels.
        tone: Colour of the dot.
    """

    name: str
    site: str
    head: int
    is_out: bool
    says: tuple[str, ...]
    text: str
    colour: str | None
    ink: str | None
    x: float | None
    y: float | None
    radius: float
    tone: str


@dataclass(frozen=True)
class Tower:
    """One stack of the grid: its name, how many layers and heads, and how they are laid out (places in the list of all
    heads); `is_named` where the columns mean nothing, so that each cell bears the name of its head."""

    title: str
    subtitle: str
    n_columns: int
    rows: Sequence[Row]
    is_named: bool


@dataclass(frozen=True)
class Board:
    """Everything that is drawn.

    Attributes:
        heads: All heads.
        towers: The grid, from top to bottom.
        x, y: Axes of the scatter.
        bars: Error bars of some heads: row to the ends on x and on y as shares, None where there is none.
        shades: The scale of the cells.
        legend: Of the dots: name to colour; None where they have the colours of the cells.
        legend_title: What those colours are.
        picked: Row of the head in hand.
        several: Rows that are compared.
        alt: What scatter and grid show, for a screen reader.
        note: What the sizes of the dots say, and what is missing in the scatter; or empty.
    """

    heads: Sequence[Head]
    towers: Sequence[Tower]
    x: Axis
    y: Axis
    bars: Mapping[int, Mapping[str, list[float] | None]]
    shades: Shades
    legend: Mapping[str, str] | Shades | None
    legend_title: str
    picked: int | None
    several: Sequence[int]
    alt: tuple[str, str]
    note: str = ""


def board_header(board: Board) -> dict[str, Any]:
    """What the browser is told."""
    legend: dict[str, Any] | None = None
    if isinstance(board.legend, Shades):
        legend = ramp_header(board.legend)
    elif board.legend is not None:
        legend = {"title": board.legend_title, "names": list(board.legend.items())}
    return {
        "heads": [vars(head) for head in board.heads],
        "towers": [{**vars(tower), "rows": [vars(row) for row in tower.rows]} for tower in board.towers],
        "x": board.x.as_dict(), "y": board.y.as_dict(),
        "bars": {str(row): dict(ends) for row, ends in board.bars.items()},
        "shades": ramp_header(board.shades), "legend": legend, "picked": board.picked, "several": list(board.several),
        "alt": board.alt, "note": board.note, "ring": SELECTED,
    }  # fmt: skip


def ramp_header(shades: Shades) -> dict[str, Any]:
    """What the browser is told of a scale."""
    said = {"title": shades.title, "unit": shades.unit, "high": shades.high}
    return {**said, "ticks": shades.ticks(3), "stops": shades.stops}


def headboard(
    board: Board,
    on_pick: Callable[[int | None], None],
    on_several: Callable[[list[int]], None],
    *,
    key: str,
) -> int | None:
    """Draw it.

    Args:
        on_pick: Called with the row of the head that was clicked; with None when it was let go.
        on_several: Called with the rows that are compared from now on.

    Returns:
        Row of the head to open, or None.
    """

    def pick() -> None:
        if (said := heard(key, "pick")) is not None:
            on_pick(said["row"])

    def several() -> None:
        if (said := heard(key, "several")) is not None:
            on_several([int(row) for row in said["rows"]])

    header = board_header(board) | {"answered": answered(key)}
    message = pack(header, {}, again=True)
    opened = _mount(
        key=key, data=message, on_pick_change=pick, on_several_change=several, on_open_change=lambda: None
    ).open
    return None if opened is None else int(opened["row"])

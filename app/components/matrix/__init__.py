"""All heads of a run as one picture, what is marked in it, and the card of the head under the pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt16

from app.charts.card_points import CardPoints
from app.charts.head_order import Row
from app.components import pack, register, rerun
from app.palette import VIRIDIS

_mount_matrix = register("matrix", parts=("cells", "legend", "save"))
_mount_marks = register("matrix", "marks")
_mount_card = register("matrix", "card", parts=("cells",))


@dataclass(frozen=True)
class Cell:
    """One head as the matrix shows it.

    Attributes:
        site: Label of its site.
        layer: Depth of the site in its stack.
        head: Index in the site.
        name: As in ``L2H4``.
        row, column: Its place in the stack's sprite.
        explains: KL explained by the map, at most 1; None where there is no figure.
        key_only: What the popularity of keys explains without a map.
        tint: Value of the score that colours the frame; None for no frame.
        leading: The scores that say most about this head: title, value and unit of each.
        hidden: Share of its attention that is hidden with its sinks; None where none are hidden.
    """

    site: str
    layer: int
    head: int
    name: str
    row: int
    column: int
    explains: float | None
    key_only: float | None
    tint: float | None
    leading: tuple[Mapping[str, Any], ...]
    hidden: float | None = None


@dataclass(frozen=True)
class Stack:
    """One tower.

    Attributes:
        title, subtitle: Its name, and how many layers and heads.
        n_columns: Heads of the widest layer.
        cells: Its heads.
        rows: How they are laid out; heads are places in `cells`.
        is_named: The columns mean nothing: each head has its name under it.
        sprite: Their thumbnails, one PNG; empty for none.
        cell_px: Width of a thumbnail in it.
    """

    title: str
    subtitle: str
    n_columns: int
    cells: Sequence[Cell]
    rows: Sequence[Row]
    is_named: bool
    sprite: bytes
    cell_px: int


@dataclass(frozen=True)
class Tint:
    """The score in the frames: its name in words, its unit, and the values at the ends of the colour ramp."""

    title: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Lit:
    """What stands out in one stack.

    Attributes:
        sprite: The marked points alone, one PNG in the layout of the stack's own; empty for none.
        picked: Pixels of the picked token's query and key in every cell, row by row; empty for none.
    """

    sprite: bytes
    picked: UInt16[np.ndarray, " cell_kind"]


def pack_matrix(
    stacks: Sequence[Stack],
    tint: Tint | None,
    legend: Mapping[str, Any] | None,
    run: str,
    map_name: str | None,
    alt: str,
) -> bytes:
    """The whole matrix as one message.

    Args:
        stacks: From top to bottom.
        tint: The score behind `Cell.tint`, or None.
        legend: `Colouring.as_dict` of the points; None where there are none.
        run: Its id: where the matrix was scrolled to is remembered for each.
        map_name: Of the thumbnails; marks are shown only on the map they were made for.
        alt: What the picture shows, for a screen reader.
    """
    described = [
        {
            "title": stack.title, "subtitle": stack.subtitle, "n_columns": stack.n_columns, "cell_px": stack.cell_px,
            "cells": [vars(cell) for cell in stack.cells], "rows": [vars(row) for row in stack.rows],
            "is_named": stack.is_named, "sprite": f"sprite{place}",
        }
        for place, stack in enumerate(stacks)
    ]  # fmt: skip
    shown = {"tint": vars(tint) if tint else None, "legend": legend, "run": run, "alt": alt, "ramp": VIRIDIS}
    shown |= {"view": f"{run} {map_name}", "map_name": map_name}
    return pack({"stacks": described, **shown}, {f"sprite{place}": stack.sprite for place, stack in enumerate(stacks)})


def pack_marks(
    title: str | None, n: int, key: str, stacks: Sequence[Lit], token: str | None, run: str, map_name: str | None
) -> bytes:
    """What stands out, as one message.

    Args:
        title: What the marked tokens are; None when nothing is marked.
        n: How many tokens.
        key: Differs whenever the set does.
        stacks: As in `pack_matrix`.
        token: Text of the picked token, or None.
        run, map_name: As in `pack_matrix`.
    """
    sections: dict[str, np.ndarray | bytes] = {}
    for place, lit in enumerate(stacks):
        sections |= {f"lit{place}": lit.sprite, f"picked{place}": lit.picked}
    names = [{"lit": f"lit{place}", "picked": f"picked{place}"} for place in range(len(stacks))]
    view = f"{run} {map_name}"
    return pack({"title": title, "n": n, "key": key, "token": token, "stacks": names, "view": view}, sections)


def draw_matrix(message: bytes, *, key: str, on_select: Callable[[], None]) -> Mapping[str, Any] | None:
    """Draw what `pack_matrix` made.

    Args:
        on_select: Called when a head is selected or, with None, let go; ``session_state[key].select`` says which.

    Returns:
        ``{"site": label, "head": index}`` of the head to open, or None.
    """
    return _mount_matrix(key=key, data=message, on_select_change=on_select, on_open_change=lambda: None).open


def draw_marks(message: bytes, *, key: str) -> None:
    """Show what `pack_marks` made in the matrix and in the card."""
    _mount_marks(key=key, data=message)


def draw_card(
    selected: Mapping[str, Any] | None, points: CardPoints | None, hint: str, *, key: str
) -> Mapping[str, Any] | None:
    """Draw the card beside the matrix.

    Args:
        selected: ``{"site", "head"}`` of the selected head, or None.
        points: Its map.
        hint: What to say while no head is looked at.

    Returns:
        The head to open, or None.
    """
    header: dict[str, Any] = {"selected": selected, "hint": hint, "n": 0, "rerun": rerun()}
    sections = {}
    if points is not None:
        header |= {"n": len(points.tones), "colours": points.colours, "faint": points.faint, "picked": points.picked}
        sections = {"places": points.places.ravel(), "tones": points.tones}
    return _mount_card(key=key, data=pack(header, sections), on_open_change=lambda: None).open

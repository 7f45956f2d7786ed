"""All heads of a run as one picture, and the card of the head under the pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from app.components import pack, register, rerun
from app.palette import KEY, QUERY, VIRIDIS

_mount_matrix = register("matrix")
_mount_card = register("matrix", "card")


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


@dataclass(frozen=True)
class Stack:
    """One tower: its heads, and their thumbnails as one PNG of ``rows x columns`` cells."""

    title: str
    subtitle: str
    n_heads: int
    cells: Sequence[Cell]
    sprite: bytes
    cell_px: int


@dataclass(frozen=True)
class Tint:
    """The score in the frames: its name in words, its unit, and the values at the ends of the colour ramp."""

    title: str
    unit: str
    low: float
    high: float


def pack_matrix(stacks: Sequence[Stack], tint: Tint | None, order: str, alt: str) -> bytes:
    """The whole matrix as one message.

    Args:
        stacks: From top to bottom.
        tint: The score behind `Cell.tint`, or None.
        order: "layer" for layers by heads, "rank" for falling tint.
        alt: What the picture shows, for a screen reader.
    """
    described = [
        {
            "title": stack.title, "subtitle": stack.subtitle, "n_heads": stack.n_heads, "cell_px": stack.cell_px,
            "cells": [vars(cell) for cell in stack.cells], "sprite": f"sprite{place}",
        }
        for place, stack in enumerate(stacks)
    ]  # fmt: skip
    header = {"stacks": described, "tint": vars(tint) if tint else None, "order": order, "alt": alt, "ramp": VIRIDIS}
    return pack(header, {f"sprite{place}": stack.sprite for place, stack in enumerate(stacks)})


def draw_matrix(message: bytes, *, key: str, on_select: Callable[[], None]) -> Mapping[str, Any] | None:
    """Draw what `pack_matrix` made.

    Args:
        on_select: Called when a head is selected or, with None, let go; ``session_state[key].select`` says which.

    Returns:
        ``{"site": label, "head": index}`` of the head to open, or None.
    """
    return _mount_matrix(key=key, data=message, on_select_change=on_select, on_open_change=lambda: None).open


def draw_card(
    selected: Mapping[str, Any] | None, points: Float[np.ndarray, "point 2"] | None, hint: str, *, key: str
) -> Mapping[str, Any] | None:
    """Draw the card beside the matrix.

    Args:
        selected: ``{"site", "head"}`` of the selected head, or None.
        points: Its map, queries before keys; only the shape matters, not the scale.
        hint: What to say while no head is looked at.

    Returns:
        The head to open, or None.
    """
    places = None if points is None else _into_unit_square(points)
    n = 0 if places is None else len(places) // 2
    header = {"selected": selected, "hint": hint, "n": n, "colours": [QUERY, KEY], "rerun": rerun()}
    message = pack(header, {} if places is None else {"places": places.ravel()})
    return _mount_card(key=key, data=message, on_open_change=lambda: None).open


def _into_unit_square(points: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
    low, high = np.quantile(points, [0.0025, 0.9975], axis=0)
    span = max(float((high - low).max()), 1e-9)
    centred = (points - (low + high) / 2) / span + 0.5
    centred[:, 1] = 1 - centred[:, 1]
    return np.clip(centred, 0, 1).astype(np.float32)

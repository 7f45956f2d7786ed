"""One head as a map of points, and the panel that says what the picked token looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from app.charts.colouring import Colouring
from app.components import pack, register, rerun
from app.palette import KEY, QUERY, SELECTED

_mount_scatter = register("scatter", parts=("colour", "draw"))
_mount_panel = register("scatter", "panel")

SHOWN_AT_FIRST = 0.9975
"""The view opens between this quantile of each axis and its mirror image, as the thumbnails do, so that a few far
points do not shrink the rest to a speck; they are there when one zooms out."""


def pack_scatter(
    queries: Float[np.ndarray, "token dims"],
    keys: Float[np.ndarray, "token dims"],
    tokens: pd.DataFrame,
    colouring: Colouring,
    *,
    view: str,
    walk: Mapping[str, Mapping[str, Any] | None],
    name: str,
    caution: str,
    alt: str,
    input_texts: Mapping[int, str],
) -> bytes:
    """Everything one map shows, hovering included, as one message.

    Args:
        queries, keys: Places in 2 or 3 dimensions, in token-table order.
        tokens: The token table in the same order.
        colouring: What the colours say.
        view: What is shown, as a word: the panel marks points only on the map it was made for. The camera is kept
            while it stays the same.
        walk: Where the arrow keys lead: "left", "right", "up", "down" to ``{"site", "head", "name"}``.
        name: Of the head, as in ``L2H4``.
        caution: Why the map should be read with care; empty where it need not.
        alt: What the picture shows, for a screen reader.
        input_texts: The texts, for a token's context; empty for images.
    """
    places = np.vstack([queries, keys]).astype(np.float32)
    words, texts = pd.factorize(tokens["text"].astype(str))
    low, high = np.quantile(places, [1 - SHOWN_AT_FIRST, SHOWN_AT_FIRST], axis=0)
    is_image = not input_texts
    header = {
        "n": len(tokens), "dims": int(places.shape[1]), "view": view, "frame": view, "alt": alt, "name": name,
        "caution": caution,
        "low": low.tolist(), "high": high.tolist(), "colour": colouring.as_dict(), "walk": walk,
        "palette": {"query": QUERY, "key": KEY, "selected": SELECTED},
        "input_word": "image" if is_image else "text", "input_texts": {str(i): text for i, text in input_texts.items()},
    }  # fmt: skip
    sections: dict[str, np.ndarray | bytes] = {
        "places": places.ravel(),
        "values": np.concatenate([colouring.queries, colouring.keys]).astype(np.float32),
        "inputs": tokens["input_id"].to_numpy(dtype=np.uint32),
        "positions": tokens["position"].to_numpy(dtype=np.uint32),
        "words": words.astype(np.uint32),
    }
    header["texts"] = list(texts)
    if not is_image:
        for name, column in (("starts", "char_start"), ("ends", "char_end")):
            sections[name] = tokens[column].fillna(0).to_numpy(dtype=np.uint32)
    return pack(header, sections)


def draw_scatter(message: bytes, *, key: str, on_pick: Callable[[], None], on_walk: Callable[[], None]) -> None:
    """Draw what `pack_scatter` made.

    Args:
        on_pick: ``session_state[key].pick`` is ``{"input", "token", "kind"}``, or None when the pick was let go.
        on_walk: ``session_state[key].walk`` is the head to go to.
    """
    _mount_scatter(key=key, data=message, on_pick_change=on_pick, on_walk_change=on_walk)


def draw_panel(
    picked: Mapping[str, Any] | None, hint: Sequence[str], *, view: str, key: str, on_pick: Callable[[], None]
) -> None:
    """Draw the panel beside the map; it also tells the map which lines to draw.

    Args:
        picked: What `app.charts.neighbours.describe_pick` made, or None.
        hint: What to say, one paragraph each, while nothing is picked.
        view: The `view` of the map it belongs to.
        on_pick: As in `draw_scatter`.
    """
    data = {"picked": picked, "hint": list(hint), "view": view, "rerun": rerun()}
    _mount_panel(key=key, data=data, on_pick_change=on_pick)

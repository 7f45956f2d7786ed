"""One head as a map of points, and the panel that says what the picked token looks at."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analysis.pipeline.new_input import NEW_INPUT
from analysis.types import DECODER, ENCODER
from app.charts.colouring import Colouring
from app.components import pack, register, rerun
from app.palette import KEY, QUERY, SELECTED, VIRIDIS

_PARTS = (
    "weights",
    "points",
    "fresh",
    "focus",
    "colour",
    "camera",
    "link",
    "draw",
    "glide",
    "overlay",
    "tip",
    "filters",
    "legend",
    "save",
    "bar",
    "lasso",
)
_mount_scatter = register("scatter", parts=_PARTS)
_mount_panel = register("scatter", "panel", parts=("weights", "lassocard"))
_mount_carrier = register("scatter", "carrier")
_mount_strip = register("scatter", "strip")

SHOWN_AT_FIRST = 0.9975
"""The view opens between this quantile of each axis and its mirror image, as the thumbnails do, so that a few far
points do not shrink the rest to a speck; they are there when one zooms out."""


FAR = 1e9
"""Where points lie that are not there: outside any view."""


@dataclass(frozen=True)
class Sizing:
    """What the size of a point says.

    Attributes:
        name, title, unit: Of the number, as the link and a reader say it.
        queries, keys: One number a token; NaN is drawn small.
    """

    name: str
    title: str
    unit: str
    queries: Float[np.ndarray, " token"]
    keys: Float[np.ndarray, " token"]


@dataclass(frozen=True)
class NewPoints:
    """Points that the run does not hold, placed in its map: drawn as stars with their words.

    Attributes:
        queries, keys: Places, in the dimensions of the map.
        texts: The words of the tokens, in the same order.
        tokens: Their rows, as of the token table of a run; all of one input.
        text: Of the input, for a token's context; empty for an image.
        facts: Norms and strongest ties as `app.charts.attended.strongest_ties` and `norms` name them.
    """

    queries: Float[np.ndarray, "new dims"]
    keys: Float[np.ndarray, "new dims"]
    texts: Sequence[str]
    tokens: pd.DataFrame
    text: str
    facts: Mapping[str, np.ndarray]

    def sections(self) -> dict[str, np.ndarray]:
        """What goes to the browser, every name with ``fresh_`` before it."""
        named = {**self.facts, **_token_sections(self.tokens, with_spans=bool(self.text))}
        places = np.vstack([self.queries, self.keys]).astype(np.float32).ravel()
        named.pop("inputs")
        return {"fresh": np.nan_to_num(places, nan=FAR), **{f"fresh_{name}": each for name, each in named.items()}}


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
    place: Mapping[str, Any] | None = None,
    size: Sizing | None = None,
    size_choices: Sequence[tuple[str, str]] = (("none", "the same"),),
    line_choices: Sequence[tuple[str, str]] = (("top12", "12 strongest"),),
    has_patches: bool = False,
    new: NewPoints | None = None,
) -> bytes:
    """Everything one map shows, hovering included, as one message.

    Args:
        queries, keys: Places in 2 or 3 dimensions, in token-table order; NaN for tokens that have no such point.
        tokens: The token table in the same order.
        colouring: What the colours say.
        view: What is shown, as a word: the panel marks points only on the map it was made for. The camera is kept
            while it stays the same.
        walk: Where the arrow keys lead: "left", "right", "up", "down" to ``{"site", "head", "name"}``.
        name: Of the head, as in ``L2H4``.
        caution: Why the map should be read with care; empty where it need not.
        alt: What the picture shows, for a screen reader.
        input_texts: The texts, for a token's context; empty for images.
        place: ``{"run", "site", "head"}`` of the map, for whoever listens to what is shown.
        size: What the size of the points says; None for one size.
        size_choices, line_choices: Word of the link and name of each choice beside the picture.
        has_patches: Whether the points can be drawn as patches.
        new: Points to be marked as new.
    """
    words, texts = pd.factorize(tokens["text"].astype(str))
    places, extent = spread(queries, keys)
    is_image = not input_texts
    header = {
        "n": len(tokens), **extent, "view": view, "frame": view, "alt": alt, "name": name, "caution": caution,
        "colour": colouring.as_dict(), "walk": walk,
        "palette": {"query": QUERY, "key": KEY, "selected": SELECTED},
        "run": "", "site": None, "head": None, **(place or {}), "has_patches": has_patches,
        "size": size and _size_header(size), "size_choices": list(size_choices), "line_choices": list(line_choices),
        "fresh": list(new.texts) if new else [], "fresh_text": new.text if new else "", "fresh_input": NEW_INPUT,
        "sequences": _sequences(tokens), "input_word": "image" if is_image else "text",
        "input_texts": {str(i): text for i, text in input_texts.items()},
    }  # fmt: skip
    header["texts"] = list(texts)
    sections: dict[str, np.ndarray | bytes] = {
        "places": places,
        "values": np.concatenate([colouring.queries, colouring.keys]).astype(np.float32),
        "words": words.astype(np.uint32),
        **_token_sections(tokens, with_spans=not is_image),
    }
    if size:
        sections["sizes"] = np.concatenate([size.queries, size.keys]).astype(np.float32)
    if new:
        sections |= new.sections()
    return pack(header, sections)


def spread(
    queries: Float[np.ndarray, "token dims"], keys: Float[np.ndarray, "token dims"]
) -> tuple[Float[np.ndarray, " number"], dict[str, Any]]:
    """The places of all points as the browser takes them, float32 in a row, and ``dims``, ``low`` and ``high`` of what
    the view opens on."""
    places = np.vstack([queries, keys]).astype(np.float32)
    low, high = np.nanquantile(places, [1 - SHOWN_AT_FIRST, SHOWN_AT_FIRST], axis=0)
    extent = {"dims": int(places.shape[1]), "low": low.tolist(), "high": high.tolist()}
    return np.nan_to_num(places, nan=FAR).ravel(), extent


def _token_sections(tokens: pd.DataFrame, with_spans: bool) -> dict[str, np.ndarray]:
    columns = {"inputs": "input_id", "positions": "position"}
    columns |= {"starts": "char_start", "ends": "char_end"} if with_spans else {}
    sections = {name: tokens[column].fillna(0).to_numpy(dtype=np.uint32) for name, column in columns.items()}
    if names := _sequences(tokens):
        sections["sequences"] = pd.Categorical(tokens["sequence"], names).codes.astype(np.uint32)
    return sections


def _sequences(tokens: pd.DataFrame) -> list[str]:
    """The sequences that the tokens of an input are divided into; none where it is one."""
    names = [ENCODER, DECODER]
    return names if "sequence" in tokens and set(tokens["sequence"]) <= set(names) else []


def _size_header(size: Sizing) -> dict[str, Any]:
    """Ends of the scale between the 1st and 99th percentile, so that one odd point does not shrink the rest."""
    both = np.concatenate([size.queries, size.keys])
    finite = both[np.isfinite(both)]
    low, high = np.quantile(finite, [0.01, 0.99]) if len(finite) else (0.0, 1.0)
    return {"name": size.name, "title": size.title, "unit": size.unit, "low": float(low), "high": float(high)}


def draw_scatter(
    message: bytes,
    *,
    key: str,
    on_pick: Callable[[], None],
    on_walk: Callable[[], None],
    on_further: Callable[[], None] = lambda: None,
    on_choose: Callable[[], None] = lambda: None,
    on_lasso: Callable[[], None] = lambda: None,
) -> None:
    """Draw what `pack_scatter` made.

    Args:
        on_pick: ``session_state[key].pick`` is ``{"input", "token", "kind"}``, or None when everything was let go.
        on_walk: ``session_state[key].walk`` is the head to go to.
        on_further: ``session_state[key].further`` is a point to be added to the pick or, if it is there, taken away.
        on_choose: ``session_state[key].choose`` maps words of the link to their new values (None takes one away).
        on_lasso: ``session_state[key].lasso`` is ``{"polygon", "turn", "middle", "view"}`` and the words of the
            filters; the polygon lies in the plane of the screen, see `app.charts.lasso.points_inside`.
    """
    _mount_scatter(
        key=key, data=message, on_pick_change=on_pick, on_walk_change=on_walk, on_further_change=on_further,
        on_choose_change=on_choose, on_lasso_change=on_lasso,
    )  # fmt: skip


def draw_panel(
    picked: Mapping[str, Any] | None,
    hint: Sequence[str],
    *,
    view: str,
    key: str,
    on_pick: Callable[[], None],
    on_without: Callable[[], None] = lambda: None,
    marked: Bool[np.ndarray, " token"] | None = None,
    **more: Any,
) -> None:
    """Draw the panel beside the map; it also tells the map what is picked, marked and chosen.

    Args:
        picked: What `app.charts.neighbours.describe_pick` made, or None.
        hint: What to say, one paragraph each, while nothing is picked.
        view: The `view` of the map it belongs to.
        on_pick: As in `draw_scatter`.
        on_without: ``session_state[key].without`` names a further point to be taken away.
        marked: The tokens that stand out; the rest is dimmed. None dims nothing.
        more: ``options`` (lines, labels, draw and the filters, as the link says them), ``said`` (of what is marked),
            ``also`` and ``further`` (lines and names of further picked points), ``lasso``, ``half`` (see `as_bits`).
    """
    data = {
        "picked": picked, "hint": list(hint), "view": view, "marks": None if marked is None else as_bits(marked),
        "ramp": list(VIRIDIS), "rerun": rerun(), **more,
    }  # fmt: skip
    _mount_panel(key=key, data=data, on_pick_change=on_pick, on_without_change=on_without)


def as_bits(flags: Bool[np.ndarray, " any"]) -> str:
    """Flags as text, eight to a byte, the first in the highest bit."""
    return base64.b64encode(np.packbits(flags).tobytes()).decode()


def carry(message: bytes, key: str) -> None:
    """Bring a packed message to the other parts; its header's ``subject`` says to whom."""
    _mount_carrier(key=key, data=message)


def pack_strip(
    row: bytes,
    site: str,
    layer: str,
    names: Sequence[str],
    layers: Sequence[Mapping[str, Any] | None],
    n_columns: int,
) -> bytes:
    """The heads of one layer as one message.

    Args:
        row: Their thumbnails side by side as PNG, `n_columns` to the width; empty where the map has none.
        site, layer: Of the heads, as the link and a reader say it.
        names: Of the heads, as in ``L2H4``.
        layers: ``{"site", "name", "n_heads"}`` of the layer above and of the one below; None where there is none.
    """
    header = {"site": site, "layer": layer, "names": list(names), "layers": list(layers), "n_columns": n_columns}
    return pack(header, {"row": row})


def draw_strip(message: bytes, *, key: str, on_go: Callable[[], None]) -> bool:
    """Draw what `pack_strip` made; which head is framed it hears from the map.

    Args:
        on_go: ``session_state[key].go`` is ``{"site", "head"}``.

    Returns:
        Whether all heads are asked for.
    """
    return bool(_mount_strip(key=key, data=message, on_go_change=on_go, on_all_change=lambda: None).all)

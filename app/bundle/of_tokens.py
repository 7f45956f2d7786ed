"""What all heads of a bundle share, as one message: tokens, texts, and the colours of all points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.types import Site
from app import cache
from app.cache import atlas
from app.charts.colouring import Colouring
from app.components import pack, unpack
from app.state import KIND_COLOUR, RunFacts, Selection
from app.views.head_parts.picture import SIZES, map_message, size_choices

OF_ONE_HEAD = ("name", "low", "high", "caution", "walk", "alt", "dims")
"""What the header of a head's map says of this head alone; the rest is said once, with the tokens."""


def tokens_message(selection: Selection, facts: RunFacts, colours: Sequence[str], mapped: Sequence[Site]) -> bytes:
    """The token table as the viewer reads it.

    Args:
        selection: Of the run.
        colours: Words of the link for colourings, in the order of their numbers.
        mapped: Sites that have maps; the header of a map is taken from the first.
    """
    run_id, tokens = facts.run, cache.tokens(facts.run)
    header, sections = {"n": len(tokens)}, {}
    if mapped:
        header, sections = _first_map(selection, facts, mapped[0])
    columns = {name: tokens[name] for name in ("input_id", "position", "row", "column") if name in tokens}
    sections |= {f"at_{name}": values.fillna(-1).to_numpy(np.int32) for name, values in columns.items()}
    sections["special"] = tokens["is_special"].to_numpy(np.uint8)
    header |= {"colours": [], "values": {}}
    for place, name in enumerate(colours):
        colouring = atlas.colouring(run_id, name)
        header["colours"].append(colouring.as_dict())
        both = [colouring.queries, colouring.keys]
        sections[f"values{place}"] = np.concatenate(both if name == KIND_COLOUR else both[:1]).astype(np.float32)
        if name != KIND_COLOUR:
            names, more = _beyond_colours(tokens[name], colouring)
            header["values"] |= {place: names} if names else {}
            sections |= {f"{kind}{place}": values for kind, values in more.items()}
    header["sizes"] = list((size_choices(selection) if mapped else SIZES).items())
    if not mapped:
        words, texts = pd.factorize(tokens["text"].astype(str))
        header |= {"texts": list(texts), "input_texts": {str(i): t for i, t in cache.input_texts(run_id).items()}}
        sections["words"] = words.astype(np.uint32)
    return pack(header, sections)


def _first_map(selection: Selection, facts: RunFacts, site: Site) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    heads = cache.heads(facts.run, facts.maps[0])
    figures = heads[(heads["site"] == site.label) & (heads["head"] == 0)].iloc[0].to_dict()
    first = selection.having(map=facts.maps[0], site=site.label, head=0, colour=KIND_COLOUR)
    header, sections = unpack(map_message(first, facts, site, figures))
    left = {*OF_ONE_HEAD, "sections", "digest", "view", "frame", "site", "head", "colour", "size", "size_choices"}
    kept = {name: values for name, values in sections.items() if name not in ("places", "values")}
    return {name: value for name, value in header.items() if name not in left}, kept


def _beyond_colours(values: pd.Series, colouring: Colouring) -> tuple[list[str], dict[str, np.ndarray]]:
    """What the colours of a column leave out: the names of its rarer values, with a code a token, or its numbers
    where the ramp runs in a circle."""
    if colouring.classes is not None:
        codes, names = pd.factorize(values.where(values.notna()).astype("string"))
        is_all = len(names) <= len(colouring.classes) and not any(
            c["name"] not in set(names) for c in colouring.classes
        )
        return ([], {}) if is_all else (list(names), {"codes": codes.astype(np.int32)})
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    if np.array_equal(numbers, colouring.queries, equal_nan=True):
        return [], {}
    return [], {"numbers": numbers.astype(np.float32)}

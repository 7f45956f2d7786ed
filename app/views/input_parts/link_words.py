"""What the link says of how an input is looked at: words merged, tokens hidden, weights weighed, a part, a step."""

from __future__ import annotations

import numpy as np

from analysis.types import Site
from app.cache.new_input import asked_for
from app.charts.shown import each_alone, word_groups
from app.state import SINKS, Selection
from app.views.input_parts.sources import Source

WORDS, HIDE, WEIGH, SCALE, PART, STEP = "words", "hide", "weigh", "scale", "part", "step"
"""Words of the link: ``words=1``, ``hide=special,3,7``, ``weigh=norm``, ``scale=log``, ``part=content``, ``step=3`` of
what the model wrote."""

PARTS = {"whole": "whole", "content": "content alone", "position": "position alone"}
"""What of a score with a position bias is shown."""


def look_key(selection: Selection) -> str:
    """The words of the link that change what is shown of the same attention."""
    return "|".join(selection.options.get(name, "") for name in (WORDS, HIDE, WEIGH, PART, SINKS, STEP))


def written_tokens(selection: Selection, source: Source) -> np.ndarray | None:
    """Tokens of this input that the model wrote; None where it wrote none, or the input is new."""
    if "written" not in source.tokens or asked_for(selection) is not None:
        return None
    written = source.tokens["written"].fillna(False).to_numpy(dtype=bool)
    return written if written.any() else None


def part_of(selection: Selection, site: Site) -> str | None:
    """The part of the score that the link asks for, where the site adds a position bias; None for the whole."""
    part = selection.option(PART, PARTS)
    asks = part != "whole" and site.has_position_bias and asked_for(selection) is None
    return part if asks else None


def groups(selection: Selection, source: Source) -> np.ndarray:
    """Which tokens are shown as one."""
    if selection.options.get(WORDS) == "1" and source.text is not None:
        return word_groups(source.tokens, source.text)
    return each_alone(len(source.tokens))

"""The picked points of a head: the one the panel tells of, and further ones whose lines show beside its own."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from analysis.pipeline.new_input import NEW_INPUT
from analysis.types import KEY, QUERY
from app import cache, widgets
from app.cache import hidden, long_inputs
from app.cache.new_input import SPOT
from app.charts.neighbours import LINES, LINES_WORD, Ends, describe_pick, further_links
from app.marks import LASSO
from app.state import Selection
from app.views.head_parts.new_points import picked_new

ALSO = "also"
"""The word of the link that holds further points, as in ``3.2q,7.0k`` for input, position and kind."""

MOST_FURTHER = 12


def picked(selection: Selection) -> dict[str, Any] | None:
    """What the panel says of the picked token, with the head's true weights; None when nothing is picked. One of the
    new input, where the map draws it, comes before one of the run."""
    if (new := picked_new(selection)) is not None:
        return new
    if selection.input is None or selection.token is None:
        return None
    attention, sinks = _drawn(selection, selection.input, selection.token)
    text = cache.input_texts(selection.run).get(selection.input)
    tokens, rule = cache.tokens(selection.run), selection.option(LINES_WORD, LINES)
    found = describe_pick(attention, tokens, selection.input, selection.token, selection.kind, text, rule, sinks)
    if text is None:
        png = base64.b64encode(cache.image(selection.run, selection.input)).decode()
        found |= {"image": f"data:image/png;base64,{png}", "image_alt": f"Image {selection.input}"}
    return found


def further(selection: Selection) -> dict[str, list[dict[str, Any]]]:
    """Lines (``also``) and names (``further``) of the further picked points; those a run does not have are left out."""
    tokens, n_tokens = cache.tokens(selection.run), cache.facts(selection.run).n_tokens
    ids, rule = tokens["input_id"].to_numpy(), selection.option(LINES_WORD, LINES)
    fans, names = [], []
    for input_id, position, kind in further_points(selection) if selection.token is not None else ():
        if position >= n_tokens.get(input_id, 0):
            continue
        mine = np.flatnonzero(ids == input_id)
        attention, _ = _drawn(selection, input_id, position)
        fans.append(further_links(attention, mine, len(tokens), position, kind, rule))
        text = str(tokens["text"].iloc[mine[position]])
        word = _word(input_id, position, kind)
        names.append({"word": word, "input": input_id, "token": position, "kind": kind, "text": text})
    return {"also": fans, "further": names}


def _drawn(selection: Selection, input_id: int, position: int) -> tuple[np.ndarray | Ends, np.ndarray | None]:
    """The head's attention on an input as it is drawn, of a long one that from and to the token, and the keys that are
    hidden; None where nothing is."""
    where = (selection.run, selection.site, selection.head, input_id)
    if long_inputs.is_long(selection.run, input_id, cache.run(selection.run).site(selection.site)):
        ends = Ends(*long_inputs.row_and_column(*where, position, selection.hides_sinks))
        return ends, long_inputs.head_sums(*where).sinks if selection.hides_sinks else None
    if not selection.hides_sinks:
        return cache.attention(*where), None
    found = hidden.attention(*where)
    return found.weights, found.columns


def further_points(selection: Selection) -> list[tuple[int, int, str]]:
    """Input, position and kind of the further points the link names; what cannot be read is left out."""
    found = []
    for word in selection.options.get(ALSO, "").split(",")[:MOST_FURTHER]:
        place, kind = word[:-1], {"q": QUERY, "k": KEY}.get(word[-1:])
        input_id, dot, position = place.partition(".")
        numbers = [each for each in (input_id, position) if each.isascii() and each.isdigit() and len(each) < 10]
        if kind and dot and len(numbers) == 2:
            found.append((int(input_id), int(position), kind))
    return found


def pick(point: dict[str, Any] | None) -> None:
    """Take one point, of the run or of the new input, or let go of all, the lasso too."""
    spot = None
    chosen = {"input": None, "token": None, "kind": QUERY, LASSO: None} if point is None else point
    if chosen["input"] == NEW_INPUT:
        spot, chosen = chosen["token"], {"input": None, "token": None, "kind": chosen["kind"]}
    widgets.select(**chosen, **{ALSO: None, SPOT: spot})


def pick_further(point: dict[str, Any]) -> None:
    """Take one more, or take it away where it was already there."""
    selection = widgets.current()
    asked = (int(point["input"]), int(point["token"]), str(point["kind"]))
    if asked == (selection.input, selection.token, selection.kind):
        return
    words = [_word(*each) for each in further_points(selection) if each != asked]
    if asked not in further_points(selection):
        words = [*words, _word(*asked)][-MOST_FURTHER:]
    widgets.select(**{ALSO: ",".join(words) or None})


def without(word: str) -> None:
    """Take a further point away, as its name in the link says."""
    words = [_word(*each) for each in further_points(widgets.current())]
    widgets.select(**{ALSO: ",".join(each for each in words if each != word) or None})


def _word(input_id: int, position: int, kind: str) -> str:
    return f"{input_id}.{position}{'q' if kind == QUERY else 'k'}"

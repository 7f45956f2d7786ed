"""The inputs of a bundle with the attention of all heads, one message each."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import UserError
from analysis.types import Site
from app import cache
from app.bundle.of_heads import exactly
from app.cache import pictures, whole
from app.charts.image_attention import patch_table
from app.charts.shown import word_groups
from app.components import pack
from app.state import RunFacts, Selection
from app.views.input_parts.read_one import read_one
from app.views.input_parts.sources import StoredInput


def input_messages(selection: Selection, facts: RunFacts, held: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Id and message of each of these inputs.

    A message has, for each site, float32 ``weights`` [head, query, key], where they are ``allowed``, and the ``norms``
    [head, token] of the value vectors, where the run has them; scores of all heads on the input; and of a text the word
    that each token is of.
    """
    if not held:
        return
    scores, norms = _scores(facts, held), {site.index: _norms(facts, site, held) for site in facts.sites}
    for input_id in held:
        more = {f"norms{index}": found[input_id] for index, found in norms.items() if found}
        yield input_id, _message(selection, facts, input_id, scores[input_id], more)


def _message(
    selection: Selection, facts: RunFacts, input_id: int, scores: dict[str, Any], norms: dict[str, np.ndarray]
) -> bytes:
    run, source, first = cache.run(facts.run), StoredInput(facts.run, input_id), facts.sites[0]
    header: dict[str, Any] = {"id": input_id, "n": len(source.tokens), "spans": {}, "scores": scores}
    sections: dict[str, np.ndarray | bytes] = {"special": source.tokens["is_special"].to_numpy(np.uint8), **norms}
    weights = run.shares_all(input_id)
    for each in facts.sites:
        places = run.query_positions(each, input_id), run.key_positions(each, input_id)
        header["spans"][str(each.index)] = [[int(of.min()), int(of.max()) + 1] for of in places]
        sections[f"weights{each.index}"] = whole.matrix(run, each, input_id, weights[each.key]).astype(np.float32)
        allowed = whole.matrix(run, each, input_id, run.allowed(each, input_id))
        sections[f"allowed{each.index}"] = allowed.astype(np.uint8)
    one = read_one(selection.having(input=input_id, site=first.label, head=0), source, [(first, 0)])
    if one.is_image:
        table = patch_table(np.zeros(len(source.tokens)), source.tokens)
        picture = base64.b64encode(source.image()).decode()
        image = f"data:image/png;base64,{picture}"
        header |= {"image": image, "boxes": _boxes(table), "names": list(table["name"])}
    else:
        header |= {"labels": one.labels, "pieces": [list(vars(piece).values()) for piece in one.pieces()]}
        sections["word_of"] = word_groups(source.tokens, source.text).astype(np.uint32)
    return pack(header, sections)


def _norms(facts: RunFacts, site: Site, held: Sequence[int]) -> dict[int, np.ndarray]:
    """Of each input, float32 [head, token]; empty where the run holds no value vectors of the site. Read once."""
    ids = cache.tokens(facts.run)["input_id"].to_numpy()
    rows = {input_id: np.flatnonzero(ids == input_id) for input_id in held}
    found: dict[int, list[np.ndarray]] = {input_id: [] for input_id in held}
    try:
        for head in range(site.n_heads):
            lengths = pictures.value_norms(facts.run, site.label, head).astype(np.float32)
            for input_id in held:
                found[input_id].append(lengths[rows[input_id]])
    except UserError:
        return {}
    return {input_id: np.stack(lengths) for input_id, lengths in found.items()}


def _scores(facts: RunFacts, held: Sequence[int]) -> dict[int, dict[str, list[float | None]]]:
    """Of each input and every score that it has, the values of all heads in the order of the sites. Read once."""
    order = {(site.label, head): None for site in facts.sites for head in range(site.n_heads)}
    found: dict[int, dict[str, list[float | None]]] = {input_id: {} for input_id in held}
    for name in facts.scores:
        table = pictures.scores_by_input(facts.run, name)
        for input_id, mine in table[table["input_id"].isin(held)].groupby("input_id"):
            values = order | dict(zip(zip(mine["site"], mine["head"].astype(int)), mine["value"].astype(float)))
            found[int(input_id)][name] = exactly(values.values())
    return found


def _boxes(table: pd.DataFrame) -> list[list[float]]:
    """Left, top, right and bottom of every token, in patches, and 1 where it is a patch of the picture."""
    columns = ["left", "top", "right", "bottom", "is_patch"]
    return table[columns].astype(float).round(4).to_numpy().tolist()

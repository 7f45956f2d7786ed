"""The suggested path as steps: which view each one opens, what it points at, and what it says. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

INDUCTION, PREVIOUS = "induction", "previous_token"


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        page: View it happens on.
        words: Changes of the selection; together with the page they are the whole view.
        targets: Selectors of what it points at, each with its substitutes in falling order of preference.
        title, text: What the card says.
    """

    page: str
    title: str
    text: str
    targets: Sequence[Sequence[str]]
    words: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """One attention weight worth showing: of a query on a key of the same input.

    Attributes:
        input: Id of the text or image.
        query, key: Positions in it.
        weight: 0 to 1.
        query_text, key_text: As tokens are shown.
    """

    input: int
    query: int
    key: int
    weight: float
    query_text: str
    key_text: str


def pick_head(heads: pd.DataFrame) -> tuple[pd.Series, str | None] | None:
    """The head the path leads to, and the score that picks it.

    Args:
        heads: As `app.charts.head_table.head_table` makes them.

    Returns:
        The head with the highest induction score, else with the highest previous-token score, else the first (then
        the score is None); None without heads.
    """
    own = heads[~heads["site"].str.contains(r"\.cross\.", regex=True)]
    heads = own if len(own) else heads
    for score in (INDUCTION, PREVIOUS):
        if score in heads and heads[score].notna().any():
            return heads.loc[heads[score].idxmax()], score
    return (heads.iloc[0], None) if len(heads) else None


def pick_example(
    attention: Float[np.ndarray, "query key"], allowed: Bool[np.ndarray, "query key"], score: str | None
) -> tuple[int, int] | None:
    """The largest weight of the kind the score is about: query and key position, or None where there is none.

    Args:
        allowed: Pairs worth showing; the caller leaves out special tokens.
        score: With ``previous_token`` only the key just before the query counts; otherwise never the query itself.
    """
    weights = np.where(allowed, attention, -1.0)
    rows, columns = np.indices(weights.shape)
    weights[rows - columns != 1 if score == PREVIOUS else rows == columns] = -1.0
    if score == INDUCTION:
        weights[rows - columns <= 1] = -1.0
    best = int(weights.argmax()) if weights.size else 0
    if not weights.size or weights.flat[best] <= 0:
        return None
    return divmod(best, weights.shape[1])


def path_name(score: str | None) -> str:
    """What the path is called on its button."""
    names = {INDUCTION: "Find the induction head", PREVIOUS: "Find the previous-token head"}
    return names.get(score, "Follow one head")


def make_steps(
    head: pd.Series,
    score: str | None,
    example: Example | None,
    *,
    is_image: bool,
    has_map: bool,
    low: float,
    high: float,
) -> list[Step]:
    """The steps for one run: four to six, fewer where it has no map or no example.

    Args:
        head: From `pick_head`.
        low, high: Smallest and largest value of the score over all heads.
    """
    name, site, index = head["name"], head["site"], int(head["head"])
    at = {"site": site, "head": index, "score": score, "order": None, "input": None, "token": None, "kind": "query"}
    cell = [f'[data-site="{site}"][data-head="{name}"]', f'[data-head="{name}"]', ".st-key-atlas_matrix"]
    steps = [
        Step(
            "atlas", "A cell is a head",
            f"{name}, for one: all its queries (green) and keys (magenta) in one small map. Rows are layers, columns "
            "are heads. Point at any cell to read its scores; a click keeps it.",
            [cell], {**at, "site": None, "head": None, "score": None},
        ),
        Step("atlas", "The frames show a score", _about_score(name, score, low, high),
             [['[class*="st-key-pick_tint"]', ".st-key-atlas_matrix"], cell], at),
    ]  # fmt: skip
    if has_map:
        steps.append(Step("head", f"The map of {name}", _about_map(head), [[".st-key-head_picture"]], at))
    if example is not None:
        picked = {**at, "input": example.input, "token": example.query}
        if has_map:
            steps.append(Step("head", "One token, picked", _about_example(example, score, is_image),
                              [[".st-key-head_panel"]], picked))  # fmt: skip
        steps.append(Step("input", *_about_input(example, is_image), _INPUT_TARGETS, picked))
    last = steps[-1]
    return [
        *steps,
        Step(
            last.page, "Every view is a link",
            "The address holds all you see: copy it, and whoever opens it sees the same. Back undoes a step. The tour "
            "is always there, beside this button.",
            [["nav .copy"]], last.words,
        ),
    ]  # fmt: skip


_INPUT_TARGETS = [[".st-key-input_sentence", '[data-testid="stVegaLiteChart"]', ".st-key-view"]]


def _about_score(name: str, score: str | None, low: float, high: float) -> str:
    if score is None:
        return f"This run has no head scores yet, so we take the first head, {name}. A double click on it opens it."
    open_it = "A double click opens it, or Enter."
    if score == INDUCTION:
        return (
            f"Now: induction, from {low:.2f} to {high:.2f}. Such a head looks for the last place where the same token "
            f"stood and at what came next. The highest is {name}: {high:.2f}. {open_it}"
        )
    return (
        f"This run has no induction score, so we look for the head that follows the previous token: from {low:.2f} to "
        f"{high:.2f} of the weight, and the highest is {name}. {open_it}"
    )


def _about_map(head: pd.Series) -> str:
    explained = head.get("kl_explained")
    known = explained is not None and np.isfinite(explained)
    trust = f" This one explains {max(float(explained), 0) * 100:.0f} % of the head's attention." if known else ""
    return (
        "Each token is here twice, as query and as key. Point at one to read it, drag to move, turn the wheel to zoom. "
        f"Nearness stands for attention.{trust}"
    )


def _about_example(example: Example, score: str | None, is_image: bool) -> str:
    what = "patch" if is_image else "token"
    query, key = (
        (f"{what} {example.query}", f"{what} {example.key}")
        if is_image
        else (f"“{example.query_text}” at {example.query}", f"“{example.key_text}” at {example.key}")
    )
    why = {
        INDUCTION: ", further back: it looks where the text went on before.",
        PREVIOUS: f", the {what} just before it.",
    }.get(score, ".")
    return f"The query of {query} puts {example.weight:.2f} of its weight on {key}{why} A click on any point does this."


def _about_input(example: Example, is_image: bool) -> tuple[str, str]:
    if is_image:
        return (
            "The same token in its image",
            "Patches are shaded by the weight the picked one gives them; the other heads are below.",
        )
    return (
        "The same token in its sentence",
        f"Shading is weight: “{example.query_text}” is picked, and the most strongly shaded are where it looks. Point "
        "at another to see its own.",
    )

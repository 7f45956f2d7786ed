"""The row of controls over the picture: which input, in which order, a new one, which heads."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.types import VISION_AND_TEXT, Site, head_name
from app import cache, marks, widgets
from app.cache import new_input, pictures
from app.charts.scales import weight_words
from app.charts.words import within
from app.state import RunFacts, Selection
from app.views.input_parts.link_words import HIDE, STEP
from app.views.input_parts.sources import leaves_new

LISTED_INPUTS = 2000
"""Up to so many inputs are offered in one list; beyond, a search narrows them first."""

_NEW_ONE = -1
"""In the list: the text or image that the link holds."""

ORDER, ONLY = "order", "only"
"""Words of the link: ``order=first_token`` (highest first), ``order=-first_token``, and ``only=marked``."""


def pick_row(selection: Selection, inputs: pd.DataFrame, site: Site, stack: list[Site], facts: RunFacts) -> None:
    """One row: the input, its neighbours, their order, a new one, the head and those it is averaged with."""
    ids, scores = listed_inputs(selection, inputs, facts)
    names = dict(zip(inputs["input_id"].astype(int), (_input_name(row) for row in inputs.to_dict("records"))))
    here = ids.index(selection.input) if selection.input in ids else 0
    rest = [each for each in ids if each != selection.input] or ids
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="input_row"):
        _pick_input(selection, ids, names, scores, len(inputs))
        steps = (("‹", ids[here - 1], "Previous input"), ("›", ids[(here + 1) % len(ids)], "Next input"))
        for sign, other, says in steps:
            st.button(sign, key=f"input_{says}", help=says, on_click=_go_to, args=(other,))
        st.button(
            "", icon=":material/shuffle:", key="input_random", help="A random input",
            on_click=lambda: _go_to(random.choice(rest)),
        )  # fmt: skip
        _pick_order(selection, facts)
        _try_own(selection)
        widgets.pick(
            "Layer", [each.label for each in stack], site.label, lambda label: {"site": label}, key="input_layer",
            format_func=lambda label: str(next(each.depth for each in stack if each.label == label)), width=76,
        )  # fmt: skip
        heads = list(range(site.n_heads))
        widgets.pick("Head", heads, selection.head, lambda chosen: {"head": chosen}, key="input_head", width=76)
        _pick_average(selection, stack)


def listed_inputs(
    selection: Selection, inputs: pd.DataFrame, facts: RunFacts
) -> tuple[list[int], dict[int, float] | None]:
    """The inputs as the link orders and restricts them, and the score they are ordered by."""
    ids = inputs["input_id"].astype(int).tolist()
    if selection.options.get(ONLY) == "marked":
        ids = _marked_inputs(selection, ids)
    metric = selection.options.get(ORDER, "")
    if metric.removeprefix("-") not in facts.scores:
        return ids, None
    table = pictures.scores_by_input(facts.run, metric.removeprefix("-"))
    table = table[(table["site"] == selection.site) & (table["head"] == selection.head)]
    scores = dict(zip(table["input_id"].astype(int), table["value"].astype(float)))
    sign = 1 if metric.startswith("-") else -1
    return sorted(ids, key=lambda each: sign * scores[each] if each in scores else np.inf), scores


def _marked_inputs(selection: Selection, ids: list[int]) -> list[int]:
    try:
        marked = marks.marks(selection)
    except UserError:
        return ids
    if marked is None:
        return ids
    found = set(cache.tokens(selection.run).loc[marked.tokens, "input_id"].astype(int))
    return [each for each in ids if each in found] or ids


def _pick_input(
    selection: Selection, ids: list[int], names: dict[int, str], scores: dict[int, float] | None, n_all: int
) -> None:
    is_new = new_input.asked_for(selection) is not None
    listed = ids if len(ids) <= LISTED_INPUTS else _search(ids, names, selection.input)
    if selection.input not in listed:
        listed = [selection.input, *listed]
    few = f"{len(ids):,} of {n_all:,}" if len(ids) < n_all else f"{n_all:,}"
    choices = [_NEW_ONE, *listed] if is_new else listed

    def name(each: int) -> str:
        if each == _NEW_ONE:
            return "new · not in this run, through its model"
        score = "" if scores is None else f" · {weight_words(scores[each]) if each in scores else 'no score'}"
        number, _, rest = names[each].partition(" · ")
        return f"{number}{score} · {rest}"

    st.selectbox(
        f"Input ({few} in this run; type to search)", choices, format_func=name,
        **widgets.bound("input_pick", _NEW_ONE if is_new else selection.input, _go_to),
    )  # fmt: skip


def _pick_order(selection: Selection, facts: RunFacts) -> None:
    metrics = cache.metrics()
    words = {"": "number in the data"}
    for metric in facts.scores:
        title = within(metrics.get(metric, {}).get("title", metric.replace("_", " ")))
        words |= {metric: f"{title}, highest first", f"-{metric}": f"{title}, lowest first"}
    what = "Order and choice of the inputs"
    with st.popover(what, key="icon_only_order", icon=":material/sort:", help=what):
        said = selection.options.get(ORDER, "")
        widgets.pick(
            "Inputs by", list(words), said if said in words else "", lambda name: {ORDER: name or None},
            key="input_order", format_func=words.get, help="Scores of the shown head on each input.",
        )  # fmt: skip
        is_only = selection.options.get(ONLY) == "marked"
        st.toggle(
            "Only inputs with marked tokens",
            help="Those that the search in the top row finds, or that were picked in another view.",
            **widgets.bound("input_only", is_only, lambda is_on: widgets.select(**{ONLY: "marked" if is_on else None})),
        )  # fmt: skip


def _try_own(selection: Selection) -> None:
    """A text or an image of one's own, through the model of the run."""
    if not new_input.is_offered():
        return
    modality = cache.run(selection.run).modality
    if modality in ("audio", VISION_AND_TEXT):
        return
    is_text = modality == "text"
    what = "text" if is_text else "image"
    offer = f"Try {'a text' if is_text else 'an image'} of your own"
    with st.popover(offer, key="icon_only_own", icon=":material/edit:", help=offer):
        if new_input.lacks_model(selection.run):
            folder = st.text_input("Folder of the run's model", key="input_own_model")
            if not folder:
                return
            new_input.remember_folder(selection.run, folder)
        if is_text:
            st.session_state.setdefault("input_own", new_input.asked_for(selection) or "")
            st.text_area("Try a text of your own", key="input_own", max_chars=new_input.LONGEST_TEXT, height=110)
            # The text is read when the button is heard: it may have been committed by the same click.
            st.button(
                "Show", key="input_own_go", type="primary",
                on_click=lambda: _show_new(st.session_state["input_own"].strip()),
            )  # fmt: skip
        else:
            dropped = st.file_uploader(
                "Try an image of your own", ["png", "jpg", "jpeg", "webp"], key="input_own_image"
            )
            if dropped is not None and st.button("Show", key="input_own_go", type="primary"):
                _show_new(new_input.keep_image(dropped.getvalue()))
                st.rerun(scope="fragment")
        st.caption(f"The {what} goes through the run's own model here; the first time takes some seconds.")


def _show_new(said: str) -> None:
    if said:
        widgets.select(
            **{new_input.NEW: said, "spot": None, "token": None, "at": None, STEP: None, HIDE: _without_places()}
        )


def _pick_average(selection: Selection, stack: list[Site]) -> None:
    names = [head_name(each.depth, head) for each in stack for head in range(each.n_heads)]
    chosen = [name for name in averaged_with(selection) if name in names]
    with st.popover(f"Mean of {len(chosen) + 1}" if chosen else "Average"):
        st.multiselect(
            "Average the head with", names, placeholder="no other head",
            help="Show the plain mean of the attention of these heads and the picked one.",
            **widgets.bound("input_with", chosen, lambda heads: widgets.select(**{"with": ",".join(heads) or None})),
        )  # fmt: skip


def averaged_with(selection: Selection) -> list[str]:
    """Names of the further heads in the link, as in ``with=L1H3,L2H0``."""
    return [name for name in selection.options.get("with", "").split(",") if name]


def _go_to(input_id: int) -> None:
    widgets.select(input=input_id, token=None, at=None, **{HIDE: _without_places(), STEP: None}, **leaves_new())


def _without_places() -> str | None:
    """Positions that were hidden belong to the input that is left; hidden special tokens stay hidden."""
    return "special" if "special" in widgets.current().options.get(HIDE, "").split(",") else None


def _search(ids: list[int], names: dict[int, str], chosen: int) -> list[int]:
    words = st.text_input(
        "Search the inputs", key="input_search", placeholder=f"{len(ids):,} inputs: words to look for"
    )
    found = [each for each in ids if words.lower() in names[each].lower()]
    if len(found) > LISTED_INPUTS:
        st.caption(f"{len(found):,} match; the first {LISTED_INPUTS:,} are listed. More words narrow them.")
    kept = found[:LISTED_INPUTS]
    return kept if chosen in kept else [chosen, *kept]


def _input_name(row: dict) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        told = [str(row[name]) for name in ("name", "label", "class") if isinstance(row.get(name), str)]
        if isinstance(row.get("seconds"), float):
            told.append(f"{row['seconds']:.2f} s")
        text = " · ".join(told) or f"{row.get('width')} × {row.get('height')} pixels"
    text = " ".join(text[:400].split()) or "(empty)"
    return f"{row['input_id']} · {text if len(text) <= 110 else text[:109] + '…'}"

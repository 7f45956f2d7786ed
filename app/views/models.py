"""Models: is mine supported? What can be captured of every model type of transformers, as measured."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import widgets
from app.cache.coverage import coverage, find_types
from app.state import Selection
from app.views import View

TYPE = "type"
"""Word of the link: what was searched for."""

ROUTES = {
    "interface": "attention interface",
    "op trace": "traced operations",
    "both": "both",
    "implicit": "implicit attention",
    "output_attentions": "attention alone",
    "refused": "refused",
    "no attention": "no attention",
    "not tested": "not tested",
}
"""A route as the table of coverage gives it, and as the page says it."""

REACHED = {
    "interface": "through transformers' attention interface",
    "op trace": "by following its operations",
    "both": "through transformers' attention interface and by following its operations",
}

FEW = 16
"""Rows up to which the table is as high as it needs to be."""

COLUMNS = ["model_type", "verdict", "reached_by", "modality", "n_sites", "attention_max_abs_diff", "note"]
_BOX = "models_type"

EXACT = (
    "Exact: every attention call that the model makes or returns is captured with queries and keys, within 1e-5, and "
    "its outputs stay the same to the bit."
)


def render_models(selection: Selection) -> None:
    """Draw the page."""
    table, versions = coverage()
    if table.empty:
        widgets.say("The table of model types is not in this copy of the project: `make coverage` measures it anew.")
        return
    widgets.say(summary_of(table, versions))
    words = selection.options.get(TYPE, "")
    st.text_input(
        "Is my model supported?", placeholder="gpt2, BertModel, meta-llama/Llama-3.1-8B …", max_chars=120,
        icon=":material/search:",
        **widgets.bound(_BOX, words, lambda typed: widgets.select(**{TYPE: typed.strip() or None})),
        help="A model type (as config.json names it), a class, or a hub id. The whole answer for a model of yours "
        "gives `python -m analysis doctor --model FOLDER_OR_ID`.",
    )  # fmt: skip
    names = find_types(words, table["model_type"].tolist())
    found = table.set_index("model_type").loc[names].reset_index()
    widgets.say(answer(words, found))
    if not found.empty:
        _show(found)


def summary_of(table: pd.DataFrame, versions: dict[str, str]) -> str:
    """How many types there are, how many could be tried, and of how many the attention is exact."""
    tested = table[table["route"] != "not tested"]
    attending = tested[tested["route"] != "no attention"]
    usable = tested[tested["n_sites"].gt(0) | tested["route"].eq("output_attentions")]  # implicit attention has sites
    return (
        f"transformers {versions.get('transformers', '?')} knows {len(table)} model types. A tiny random model of "
        f"{len(tested)} of them was captured here and compared with itself: {len(attending)} have attention, "
        f"{int(attending['exact'].sum())} are captured exactly with their queries and keys, {len(usable)} in some way."
    )


def verdict(row: pd.Series) -> str:
    """What the page says of a type in two words or three."""
    if row["exact"]:
        return "✓ exact"
    if row["route"] in ("interface", "op trace", "both"):
        return "partly"
    alone = {"output_attentions": "attention only", "implicit": "attention only"}
    return {**alone, "refused": "no", "no attention": "no attention"}.get(row["route"], "not tested")


def answer(words: str, found: pd.DataFrame) -> str:
    """The sentence that answers the question in the box."""
    if not words.strip():
        return "Name a model above, or look through the table."
    if found.empty:
        return (
            f"No type of transformers goes by “{words.strip()[:60]}”. The type is the `model_type` of the model's "
            "config.json; a model that is none of these can still be tried with `doctor`."
        )
    first = found.iloc[0]
    name, more = first["model_type"], f" {len(found) - 1} more below." if len(found) > 1 else ""
    if first["exact"]:
        difference = first["attention_max_abs_diff"]
        exactly = "to the last bit" if difference == 0 else f"within {difference:.0e}"
        return f"Yes: {name} is captured, {exactly} of its own attention, {REACHED[first['route']]}.{more}"
    if verdict(first) == "partly":
        return f"In part: {first['n_sites']} attention calls of {name} are captured; not all of its attention is.{more}"
    if first["route"] == "not tested":
        return (
            f"Not known: no tiny model of {name} could be tried here. `python -m analysis doctor --model …` tells on "
            f"your own.{more}"
        )
    reasons = {
        "output_attentions": f"{name} gives its attention, but no queries and keys: there is no map of it.",
        "implicit": f"In part: {name} has no softmax; the implicit attention of its state-space layers is computed, "
        "which is signed and has no queries and keys, so there is no map of it.",
        "no attention": f"{name} has no attention to look at.",
    }
    return reasons.get(first["route"], f"No: {name} cannot be captured; {first['note']}.") + more


def _show(found: pd.DataFrame) -> None:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    shown = found.assign(
        verdict=[verdict(row) for _, row in found.iterrows()],
        reached_by=found["route"].map(ROUTES),
        modality=found["modality"].str.replace("+", ", ", regex=False),
    )[COLUMNS]
    st.dataframe(
        shown, hide_index=True, width="stretch", height="content" if len(shown) <= FEW else 620, placeholder="–",
        column_config={
            "model_type": text("model type", pinned=True, width=214),
            "verdict": text("captured", width=104, help=EXACT),
            "reached_by": text("reached by", width=130),
            "modality": text("reads", width=110),
            "n_sites": number("attention calls", width=100, help="Of the tiny model."),
            "attention_max_abs_diff": number(
                "differs", format="%.0e", width=76, help="Largest difference of a weight, which is 0 to 1."
            ),
            "note": text("note", width=420),
        },
        alt="Table of model types: whether each is captured, by which route, how exactly, and what is missing.",
    )  # fmt: skip


VIEW = View("Models", ":material/fact_check:", order=70, render=render_models, needs="nothing")

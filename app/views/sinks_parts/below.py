"""Under the first screen: what is looked at only when it is opened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from analysis.pipeline.asking import why_not
from analysis.sinks.groups import LEARNED
from analysis.sinks.levels import SECONDARY, weakening
from analysis.sinks.massive import massive_dimensions
from analysis.types import KEY, head_name
from app import cache, widgets
from app.cache import sinks as kept
from app.charts.sink_heads import HEAD, PAIRS, geometry_words, make_learned, make_pair
from app.charts.sink_layers import LAYER, OF_TOKENS, group_table, make_groups
from app.charts.sink_states import (
    LABELS,
    TOKEN,
    WEAK,
    make_massive,
    make_relation,
    make_weakening,
    rank_words,
    relation_table,
)
from app.views.sinks_parts.choice import MARK, OF_HEAD, Choice
from app.views.sinks_parts.cuts import without_them
from app.views.sinks_parts.overview import no_states, pick_layer, picked_layer, share_table
from app.views.sinks_parts.pictures import clickable, legend, title_row

MOST_DOTS = 4000
"""Tokens that a scatter draws."""


def below(choice: Choice) -> None:
    """Every part, closed until somebody opens it."""
    _part("Without them: cut sinks out of the model and see what changes", "cuts", without_them, choice)
    _part("Massive dimensions: where the state of a sink is large", "massive", massive, choice)
    _part("What makes a sink: the MLP in front of it", "made", made_by, choice)
    _part("Does the primary sink weaken where secondary ones live?", "weakening", weaker, choice)
    _part("Geometry: key, value and angle of the primary sink in every head", "geometry", geometry, choice)
    _part("Reference frames: what attention is anchored to", "frames", reference_frames, choice)
    if any(site.has_sink_logits for site in choice.sites):
        _part("Learned sinks: what the softmax gives to no token", "learned", learned, choice)
    _part("Table of every head", "by_head", every_head, choice)


def _part(title: str, key: str, draw: Callable[[Choice], None], choice: Choice) -> None:
    opened = st.expander(title, key=f"sinks_part_{key}", on_change="rerun")
    if opened.open:
        with opened:
            if why := _absent(choice, key):
                st.caption(why)
            else:
                draw(choice)


def _absent(choice: Choice, key: str) -> str:
    """Why a part means nothing for the shown stack, a sentence; empty where it does."""
    site = choice.sites[0]
    if key == "cuts":
        return widgets.plain(why_not(cache.run(choice.run), "What cutting sinks does"))
    if site.is_cross and key == "geometry":
        return "Keys and queries are of different tokens here: no token has both, and there is no angle between them."
    if site.is_cross and key == "frames":
        return "A reference frame is of tokens that attend to each other; here one sequence attends to another."
    return ""


def massive(choice: Choice) -> None:
    """The dimension with the largest value, by layer, and who shares it."""
    figures = kept.figures(choice.run, choice.stack)
    if not figures:
        return no_states(choice)
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    table = massive_dimensions(tower, figures, kept.width(choice.run, choice.stack))
    rest = np.median(figures["peak_ratio"][:, ~tower.is_primary], axis=1).tolist()
    title_row("Largest value over the root mean square", "massive dimension", table,
              f"{choice.run}-massive-dimensions.csv", "massive")  # fmt: skip
    clickable(make_massive(table, rest, picked_layer(choice)), {LAYER: pick_layer}, "sinks_massive")
    st.caption(
        "Solid: the primary sinks, with the dimension in which most of them are largest; dashed: median of all other "
        "tokens; the top is the largest ratio there can be, the square root of the width. Figures of the state in "
        "front of each layer, and behind the last. Source: Sun et al. 2024, “Massive Activations in Large Language "
        "Models”; shares over inputs are ours."
    )
    return None


def made_by(choice: Choice) -> None:
    """What the MLP of every layer adds, and whether more of it makes stronger sinks."""
    figures = kept.figures(choice.run, choice.stack)
    if not figures:
        return no_states(choice)
    if "mlp_norm" not in figures:
        return st.caption("Here you would see what the MLPs add. No MLP was found in the blocks of this model.")
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    is_other = (tower.share > 0).any(axis=0)
    columns = st.columns(2, gap="medium")
    for column, (name, title, log) in zip(columns, _MLP, strict=True):
        with column:
            table = group_table(figures[name], tower.is_primary, is_other)
            title_row(title, "relation of the MLP", table, f"{choice.run}-{name}.csv", name)
            chart = make_groups(table, picked_layer(choice), title.lower(), log=log)
            clickable(chart, {LAYER: pick_layer}, f"sinks_{name}")
    legend({name: colour for name, colour in OF_TOKENS.items() if name in set(table["tokens"])},
           note="median, quartiles; source: “On the Existence and Behaviour of Secondary Attention Sinks”")  # fmt: skip
    _relation(choice)
    return None


_MLP = (
    ("mlp_norm", "Norm of what the MLP adds", True),
    ("mlp_cosine", "Its cosine to the primary sink's state", False),
)


def _relation(choice: Choice) -> None:
    levels = kept.levels(choice.run, choice.stack, choice.rule, choice.of_levels)
    table = relation_table(levels.tokens)
    if table.empty:
        st.caption(
            "Here you would see whether tokens to which the MLP adds more become stronger sinks, and live longer. No "
            "token but the primary sinks points where they point: there is nothing to relate."
        )
        return
    n, shown = int((table["label"] == SECONDARY).sum()), table
    if len(table) > MOST_DOTS:
        shown = table.sample(MOST_DOTS, random_state=0)
        st.caption(f"{MOST_DOTS:,} of {len(table):,} tokens are drawn; figures and file are of all.")
    for column, (to, title, value) in zip(
        st.columns(2, gap="medium"),
        (("score", "attention it receives", levels.norm_score), ("lifetime", "layers it lives", levels.norm_lifetime)),
        strict=True,
    ):
        with column:
            title_row(f"MLP norm and {title}", "relation of the MLP", table, f"{choice.run}-mlp-{to}.csv", f"mlp_{to}")
            clickable(make_relation(shown, to, title), {TOKEN: pick_token}, f"sinks_relation_{to}")
            st.caption(f"Dots are tokens; {rank_words(value, n)}. A click picks the token.")
    legend({name: colour for name, colour in LABELS.items() if name in set(table["label"])})


def pick_token(point: dict) -> None:
    """A token was clicked: it is picked in every view."""
    widgets.select(input=int(point["input_id"]), token=int(point["position"]), kind=KEY)


def weaker(choice: Choice) -> None:
    """The primary sink with and without secondary ones beside it."""
    levels = kept.levels(choice.run, choice.stack, choice.rule, choice.of_levels)
    if levels is None:
        return no_states(choice)
    table = weakening(kept.tower(choice.run, choice.stack, choice.rule), levels)
    if not table["n_with"].any():
        return st.caption(
            "Here you would see what the primary sink receives in inputs with secondary sinks beside inputs without. "
            "There is no secondary sink at these settings."
        )
    title_row("Attention the primary sink receives", "weakening", table, f"{choice.run}-weakening.csv", "weakening")
    clickable(make_weakening(table, picked_layer(choice)), {LAYER: pick_layer}, "sinks_weakening")
    legend(WEAK)
    st.caption(
        "Mean over all heads and inputs, 0 to 1. Inputs differ in length too, which by itself changes what a token "
        "receives. The question is that of “On the Existence and Behaviour of Secondary Attention Sinks”; the "
        "comparison over inputs is ours."
    )
    return None


def geometry(choice: Choice) -> None:
    """Key norm, value norm and angle, the sink against all others, a dot a head."""
    with st.spinner("Reading keys and queries of every head …"):
        found = kept.geometry(choice.run, choice.stack, choice.rule)
    if found.empty:
        return st.caption("Here you would see keys and values. No input has more than one token.")
    table = found.merge(share_table(choice)[["name", "site", "head", "share"]], on=["site", "head"])
    title_row(
        "The primary sink against all other tokens",
        "geometry of sinks",
        table,
        f"{choice.run}-geometry.csv",
        "geometry",
    )
    widgets.say(geometry_words(table), quiet=True)
    for column, what in zip(st.columns(3, gap="small"), PAIRS, strict=True):
        with column:
            st.caption(what)
            clickable(make_pair(table, what, _picked_name(choice)), {HEAD: pick_head}, f"sinks_pair_{PAIRS[what][0]}")
    st.caption(
        "A dot a head, a click picks it; on the dashed line both are alike; lighter: more of its attention on sinks. "
        f"Means over {int(table['n'].max()):,} inputs, from the stored queries and keys; angle in degrees, 90 is no "
        "relation. After Gu et al. 2024, “When Attention Sink Emerges in Language Models”; the means are ours."
    )
    return None


def pick_head(point: dict) -> None:
    """A head was clicked."""
    widgets.select(site=point["site"], head=int(point["head"]), **{MARK: None})


def _picked_name(choice: Choice) -> str | None:
    if choice.mark is None or choice.mark.kind != OF_HEAD:
        return None
    site = next(site for site in choice.sites if site.label == choice.selection.site)
    return head_name(site.depth, int(choice.selection.head or 0))


def reference_frames(choice: Choice) -> None:
    """Centralised, bidirectional or distributed, with the evidence."""
    from app.charts.sink_frames import COLOURS, MEANS, frame_words, make_frames

    with st.spinner("Reading the attention of all heads on a sample …"):
        table = kept.frames(choice.run, choice.stack, choice.rule)
    if table.empty:
        return st.caption("Here you would see what attention is anchored to. No input is short enough to be looked at.")
    title_row("Frame of every layer", "reference frame", table, f"{choice.run}-frames.csv", "frames")
    widgets.say(frame_words(table), quiet=True)
    clickable(make_frames(table, picked_layer(choice)), {LAYER: pick_layer}, "sinks_frames")
    legend(COLOURS, note="0: even; 1: all on one token, or for Fiedler all on all")
    st.caption(f"{MEANS} Source: “What are you sinking? A geometric approach on attention sink” (2025).")
    return None


def learned(choice: Choice) -> None:
    """What a sink of the softmax takes in every head; a column of its own, since it is no token."""
    rows = kept.findings(choice.run, choice.table_rule, choice.stack).by_head
    known = {site.key: site for site in choice.sites}
    rows = rows[(rows["kind"] == LEARNED) & rows["site"].isin(list(known))]
    if rows.empty:
        return st.caption("Here you would see what the learned sinks take. The run says nothing of them.")
    table = pd.DataFrame({
        "name": [head_name(known[row.site].depth, row.head) for row in rows.itertuples()],
        "site": [known[row.site].label for row in rows.itertuples()], "head": rows["head"].to_numpy(),
        "layer": [known[row.site].depth for row in rows.itertuples()],
        **{name: rows[name].to_numpy() for name in ("score", "rate", "ci_low", "ci_high", "n")},
    })  # fmt: skip
    aside = table.groupby("layer")["head"].rank(pct=True) - 0.5
    title_row("Attention on the learned sink", "learned sink", table, f"{choice.run}-learned.csv", "learned")
    clickable(make_learned(table.assign(place=table["layer"] + 0.36 * aside), _picked_name(choice)), {HEAD: pick_head},
              "sinks_learned")  # fmt: skip
    st.caption("Mean over inputs of what the rows lack to 1, 0 to 1. A dot a head; a click picks it.")
    return None


def every_head(choice: Choice) -> None:
    """The table as the library gives it, at the settings of the page."""
    by_head = kept.findings(choice.run, choice.table_rule, choice.stack).by_head
    known = {site.key: site for site in choice.sites}
    rows = by_head[by_head["site"].isin(list(known))]
    names = [head_name(known[site].depth, head) for site, head in zip(rows["site"], rows["head"])]
    shown = rows.assign(site=rows["site"].map({key: site.label for key, site in known.items()}))
    shown.insert(0, "name", names)
    numbers = {name: st.column_config.NumberColumn(format="%.3g") for name in shown.select_dtypes("floating")}
    st.dataframe(shown, hide_index=True, height=340, column_config=numbers)
    own = "with" if choice.table_rule.counts_own else "without"
    st.caption(
        f"A row a head and position, class or string; score: mean attention received, {own} the token's own query; "
        f"rate: share of such tokens with {choice.rule.threshold:g} or more, with its 95 % interval over inputs; null: "
        "the score if attention were even."
    )
    st.download_button("Download CSV", lambda: shown.to_csv(index=False), f"{choice.run}-sinks-by-head.csv", "text/csv",
                       on_click="ignore", key="sinks_take_by_head")  # fmt: skip

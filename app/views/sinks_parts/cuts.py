"""Without them: what the model loses when its sinks are cut, and an offer to cut others."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.pipeline.sink_cuts.variant import FOUND, IMAGE_CENTRIC, SPECIAL
from analysis.sinks import USUAL
from analysis.sinks.cut_measures import MEASURES
from analysis.sinks.groups import POSITION, STRING
from analysis.store import runs_dir
from analysis.types import KEY, head_name
from app import cache, jobs, widgets
from app.cache import new_input, sink_cuts
from app.charts.sink_cuts import answer_table, cut_words, layer_changes, make_changes, measure_table
from app.charts.sink_layers import LAYER
from app.jobs.requests.cut import (
    LIMIT,
    MODES,
    CutRequest,
    heads_words,
    in_words,
    measured_words,
    sinks_words,
    variant_of,
)
from app.views import one_job
from app.views.job_cards import duration
from app.views.sinks_parts.choice import OF_HEAD, Choice
from app.views.sinks_parts.overview import pick_layer, picked_layer
from app.views.sinks_parts.pictures import clickable, show_table

CUT, CUT_SINKS, CUT_HEADS, CUT_MODE, CUT_BY, CUT_MEASURE = (
    "cut",
    "cut_sinks",
    "cut_heads",
    "cut_mode",
    "cut_by",
    "cut_what",
)
"""Words of the link: the cut that is shown, and what is offered to be cut."""

ESTIMATE = "sinks_cut_estimate"
EMPTY = "Here you would see loss, answers and states with and without the sinks. Nothing has been cut in this run yet."


def without_them(choice: Choice) -> None:
    """Results of finished cuts, and the offer."""
    found = sink_cuts.measured(choice.run)
    if found:
        _results(choice, found)
    else:
        st.caption(EMPTY)
    st.markdown("**Cut sinks**, run the model again, and compare")
    _offer(choice, found)


def _results(choice: Choice, found: dict[str, dict]) -> None:
    name = choice.selection.option(CUT, found, list(found)[-1])
    widgets.pick("What was cut", list(found), name, lambda value: {CUT: value}, key="sinks_cut_shown",
                 format_func=lambda value: in_words(variant_of(found[value])))  # fmt: skip
    facts, summary = found[name], sink_cuts.summary(choice.run, name)
    cut = summary["cut"].iloc[0]
    if facts["by"]:
        cut = _by_layer(choice, facts, summary, name)
    mine = summary[summary["cut"] == cut]
    widgets.say(cut_words(mine))
    table = measure_table(mine)
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        st.caption("Before and after: means over inputs, each counting once")
        numbers = {
            name: st.column_config.NumberColumn(format="%.4g", width=62) for name in table.select_dtypes("floating")
        }
        st.dataframe(
            table.round(4), hide_index=True, height="content",
            column_config={**numbers, "interval": st.column_config.TextColumn("95 % interval", help="Of the change.")},
        )  # fmt: skip
    with right:
        _answers(choice, facts, cut)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(widgets.plain(f"{measured_words(facts)} Measures are standard practice, states ours."))
        with st.popover("File", icon=":material/download:"):
            show_table(summary, f"{choice.run}-{name}.csv", "cut", height=260)


def _by_layer(choice: Choice, facts: dict, summary: pd.DataFrame, name: str) -> str:
    """The change by layer; gives the cut of the layer in hand, or of the one with the largest change."""
    measures = [measure for measure in MEASURES if measure in set(summary["measure"])]
    measure = choice.selection.option(CUT_MEASURE, measures)
    widgets.pick("Measure", measures, measure, lambda value: {CUT_MEASURE: value}, key="sinks_cut_measure",
                 format_func=lambda value: MEASURES[value].title, help=MEASURES[measure].definition)  # fmt: skip
    table = layer_changes(summary, facts["cuts"], measure)
    clickable(make_changes(table, measure, picked_layer(choice)), {LAYER: pick_layer}, "sinks_cut_layers")
    st.caption(
        f"{MEASURES[measure].title}, after less before ({MEASURES[measure].unit}), when sinks are cut in one layer "
        f"only; bars: 95 % interval. Up: {MEASURES[measure].more}."
    )
    layer = picked_layer(choice)
    if layer not in set(table["layer"]):
        layer = int(table.loc[table["change"].abs().idxmax(), "layer"])
    st.markdown(f"**Cut in layer {layer}**")
    return next(made["cut"] for made in facts["cuts"] if made["layer"] == layer)


def _answers(choice: Choice, facts: dict, cut: str) -> None:
    """The predictions that changed most; a row picks its token."""
    table = answer_table(facts["examples"], cut)
    st.caption("Predictions that changed most: probability of each answer before and after")
    if table.empty:
        st.caption("None is told of this cut.")
        return
    key = "sinks_cut_answers"

    def picked() -> None:
        rows = st.session_state[key].selection.get("rows") or []
        if rows:
            row = table.iloc[rows[0]]
            token = None if pd.isna(row["position"]) else int(row["position"])
            widgets.select(input=int(row["input"]), token=token, kind=KEY)

    narrow = {name: st.column_config.TextColumn(width=52 if choice.is_text else 96) for name in ("truth", "answer")}
    share = {name: st.column_config.ProgressColumn(name, min_value=0, max_value=1, format="%.2f", width=66)
             for name in ("before", "after")}  # fmt: skip
    context = None if (table["context"] == "–").all() else st.column_config.TextColumn(width=120)
    st.dataframe(
        table, hide_index=True, height=340, key=key, on_select=picked, selection_mode="single-row",
        column_config={**narrow, **share, "position": None, "context": context,
                       "input": st.column_config.NumberColumn(width=46)},
    )  # fmt: skip
    first = table.iloc[0]
    at = choice.selection.input if choice.selection.input in set(table["input"]) else int(first["input"])
    if st.button(f"Open input {at}", key="sinks_cut_open", icon=":material/article:"):
        widgets.open_view("input", input=at, kind=KEY, mark=None)


def _offer(choice: Choice, found: dict[str, dict]) -> None:
    request = _asked(choice)
    job = one_job.newest(request)
    if job is not None and job.state == jobs.RUNNING:
        return one_job.watch(request, in_words(request.variant), "sinks_cut_cancel")
    _choose(choice)
    if request is None or not new_input.is_offered():
        run = choice.run.replace("`", "")
        why = "this public page runs no models" if not new_input.is_offered() else "it does not know where they are"
        return st.caption(
            f"This page cannot load the run's model and data again: {why}. On the machine that made the run: "
            f"`python -m analysis cut {run} --help`."
        )
    if request.variant.name in found:
        return st.caption("This has been cut: its results are above.")
    n_inputs = min(len(cache.facts(choice.run).n_tokens), LIMIT)
    times = request.n_passes(n_inputs, len(choice.sites))
    failed = f" The last try: {job.error}" if job is not None and job.error and not job.dismissed else ""
    words, estimate, start = st.columns([1, 0.16, 0.14], vertical_alignment="center", gap="small")
    words.caption(
        f"The model runs at least {times:,} times on {n_inputs:,} inputs, with and without the sinks. You can go on "
        f"meanwhile.{widgets.plain(failed)}"
    )
    estimate.button("Estimate time", key="sinks_cut_estimate_start", width="stretch", on_click=_estimate,
                    args=(request,), help="Times a few passes; writes nothing.")  # fmt: skip
    start.button("Cut", key="sinks_cut_start", type="primary", width="stretch", on_click=_begin,
                 args=(request,))  # fmt: skip
    _say_estimate(request)
    return None


def _begin(request: CutRequest) -> None:
    """Start it; its results are shown as soon as they are there."""
    one_job.begin(request)
    widgets.select(**{CUT: request.variant.name})


def _choose(choice: Choice) -> None:
    sinks, heads, mode, by = st.columns([1.3, 1, 1.2, 0.8], vertical_alignment="bottom", gap="small")
    known = _sinks_known(choice)
    with sinks:
        widgets.pick("What is cut", known, choice.selection.option(CUT_SINKS, known), lambda value: {CUT_SINKS: value},
                     key="sinks_cut_sinks", format_func=sinks_words)  # fmt: skip
    places = _heads_known(choice)
    with heads:
        widgets.pick("In", places, choice.selection.option(CUT_HEADS, places), lambda value: {CUT_HEADS: value},
                     key="sinks_cut_heads", format_func=heads_words)  # fmt: skip
    with mode:
        widgets.pick("Sinks", list(MODES), choice.selection.option(CUT_MODE, MODES), lambda value: {CUT_MODE: value},
                     key="sinks_cut_mode", format_func=MODES.get)  # fmt: skip
    with by:
        by_layer = choice.selection.options.get(CUT_BY) == "layer"
        st.toggle(
            "Layer by layer", help="Cut in one layer at a time: which layer needs its sinks.",
            **widgets.bound(
                "sinks_cut_by", by_layer, lambda is_on: widgets.select(**{CUT_BY: "layer" if is_on else None})
            ),
        )  # fmt: skip


def _sinks_known(choice: Choice) -> list[str]:
    """Sinks that are found, special tokens, the first token, and the token of the mark in hand."""
    mark = choice.mark
    own = [f"token:{mark.value}"] if mark is not None and mark.kind == STRING and mark.value else []
    own += [f"position:{mark.value}"] if mark is not None and mark.kind == POSITION else []
    asked = choice.selection.options.get(CUT_SINKS, "")
    own += [asked] if asked.partition(":")[0] in ("token", "position") and asked.partition(":")[2] else []
    return list(dict.fromkeys([FOUND, SPECIAL, "position:0", *own]))


def _heads_known(choice: Choice) -> list[str]:
    """All heads, of images the image-centric ones, and the head in hand."""
    own = []
    if choice.mark is not None and choice.mark.kind == OF_HEAD:
        site = next(site for site in choice.sites if site.label == choice.selection.site)
        own = [head_name(site.depth, int(choice.selection.head or 0))]
    return ["all", *([] if choice.is_text else [IMAGE_CENTRIC]), *own]


def _asked(choice: Choice) -> CutRequest | None:
    """What the link asks to be cut, with where model and data are; None where nobody here knows."""
    sources = one_job.sources_of(choice.run)
    if sources is None:
        return None
    sinks = choice.selection.option(CUT_SINKS, _sinks_known(choice))
    rule = choice.rule if sinks == FOUND else USUAL
    return CutRequest(
        choice.run, sinks, choice.selection.option(CUT_HEADS, _heads_known(choice)),
        choice.selection.option(CUT_MODE, MODES), "layer" if choice.selection.options.get(CUT_BY) == "layer" else None,
        rule.threshold, rule.min_queries, rule.counts_own, LIMIT, sources.model, sources.data,
    )  # fmt: skip


def _estimate(request: CutRequest) -> None:
    """Start the dry run instead of one that is under way."""
    earlier = st.session_state.pop(ESTIMATE, None)
    if earlier is not None:
        jobs.cancel_job(runs_dir(), earlier)
    st.session_state[ESTIMATE] = jobs.start_job(runs_dir(), request, dry_run=True).job_id


def _say_estimate(request: CutRequest) -> None:
    job_id = st.session_state.get(ESTIMATE)
    job = jobs.read_job(runs_dir(), job_id) if job_id else None
    if job is None or job.request != request:
        return
    running = job.state == jobs.RUNNING
    st.fragment(_estimate_words, run_every=0.5 if running else None)(job_id, running)


def _estimate_words(job_id: str, was_running: bool) -> None:
    job = jobs.read_job(runs_dir(), job_id)
    if was_running and job.state != jobs.RUNNING:
        st.rerun()
    if job.state == jobs.RUNNING:
        st.caption(":material/hourglass_top: Timing a few passes …")
    elif job.plan:
        plan = job.plan
        st.caption(
            f"{plan['n_heads']:,} heads on {plan['n_inputs']:,} inputs, {plan['n_passes']:,} forward passes: about "
            f"{duration(plan['seconds'])}."
        )
    else:
        st.caption(widgets.plain(f"No estimate: {job.error}"))

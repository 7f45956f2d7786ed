"""How much each head matters: what the run has not measured yet can be measured from here."""

from __future__ import annotations

import streamlit as st

from analysis.pipeline.asking import why_not
from analysis.pipeline.head_importance.variant import Variant
from app import cache, jobs, widgets
from app.cache import importance, new_input
from app.jobs.requests.importance import LIMIT, ImportanceRequest, in_words, measured_words, waiting
from app.views import one_job
from app.views.heads_parts.choice import Choice

TAKEN = "taken"
"""The word of the link for what is done to heads."""

TITLE = "Importance: take heads away and see what the model loses"


def importance_line(choice: Choice) -> None:
    """An offer to measure what the run has not measured, or how far that has come."""
    run_id = choice.selection.run
    opened = st.expander(TITLE, icon=":material/content_cut:", key="heads_importance", on_change="rerun")
    if not opened.open:
        return
    if why := why_not(cache.run(run_id), "The importance of heads"):
        opened.caption(widgets.plain(why))
        return
    left = {variant.name: variant for variant in waiting(choice.scores.measures, choice.is_text)}
    name = choice.selection.option(TAKEN, left) if left else None
    request = _request(run_id, left[name]) if left else None
    job = one_job.newest(request)
    with opened:
        for facts in importance.measured(run_id).values():
            st.caption(widgets.plain(measured_words(facts)))
        if name is None:
            st.caption("Everything that is offered here has been measured.")
        elif job is not None and job.state == jobs.RUNNING:
            one_job.watch(request, in_words(left[name]), "importance_cancel")
        else:
            _offer(choice, left, name, request, job)


def _offer(
    choice: Choice, left: dict[str, Variant], name: str, request: ImportanceRequest | None, job: jobs.Job | None
) -> None:
    n_inputs = min(len(cache.facts(choice.selection.run).n_tokens), LIMIT)
    n_heads = len(choice.scores.heads)
    which, make = st.columns([1, 0.24], vertical_alignment="bottom", gap="small")
    with which:
        widgets.pick(
            "What is done to each head in turn", list(left), name, lambda value: {TAKEN: value}, key="importance_taken",
            format_func=lambda value: in_words(left[value]),
        )  # fmt: skip
    if request is None or not new_input.is_offered():
        run = str(choice.selection.run).replace("`", "")
        why = "this public page runs no models" if not new_input.is_offered() else "it does not know where they are"
        st.caption(
            "This page cannot load the run's model and data again: "
            f"{why}. On the machine that made the run: `python -m analysis importance {run} --help`."
        )
        return
    make.button(
        "Measure", key="importance_start", type="primary", width="stretch", on_click=one_job.begin, args=(request,)
    )
    failed = f" The last try: {job.error}" if job is not None and job.error and not job.dismissed else ""
    st.caption(
        f"The model runs once for each of {n_heads:,} heads on each of {n_inputs:,} inputs, {n_heads * n_inputs:,} "
        "times in all; several heads share a batch. The new measures then stand in all lists of measures. You can go "
        f"on meanwhile.{widgets.plain(failed)}"
    )


def _request(run_id: str, variant: Variant) -> ImportanceRequest | None:
    """The measurement, with where model and images are; None where nobody here knows."""
    known = one_job.sources_of(run_id)
    if known is None:
        return None
    return ImportanceRequest(run_id, variant.mode, variant.part, variant.ring, model=known.model, data=known.data)

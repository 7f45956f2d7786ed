"""Runs: what there is, what is being made, and a form for a new one."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.store import runs_dir
from app import cache, jobs, widgets
from app.cache.run_list import with_figures
from app.glossary import meaning
from app.hosted.public import runs_models, takes_jobs
from app.state import Selection
from app.views import View
from app.views.job_cards import render_jobs
from app.views.public_form import render_public_form
from app.views.run_actions import render_run
from app.views.run_form import render_form

WORDS = {"complete": "ready", "partial": "unfinished", "damaged": "damaged", "newer": "made by a newer version"}
"""A run's status as the list gives it (its first word), and as the page says it."""

FORM, ROW = "form", "row"
"""Words of the link: whether the form is open, and the run whose row is chosen."""

_TABLE = "runs_table"


def render_runs(selection: Selection) -> None:
    """Draw the page."""
    runs = cache.runs(selection.options.get(ROW))
    ask = selection.options.get(FORM) == "1"
    sentence, button = st.columns([1, 0.19], vertical_alignment="center")
    with sentence:
        widgets.say(_summary(runs))
    with button, st.container(horizontal=True, horizontal_alignment="right"):
        if ask:
            st.button("Close the form", on_click=_set_form, args=(None,), key="runs_close")
        elif takes_jobs():
            st.button("New run", type="primary", icon=":material/add:", on_click=_set_form, args=("1",), key="runs_new")
    render_jobs()
    if ask:
        (render_form if runs_models() else render_public_form)(runs)
    if not runs.empty:
        _table(runs, selection.options.get(ROW))
    elif not ask and takes_jobs():
        _empty()


def _set_form(word: str | None) -> None:
    widgets.select(**{FORM: word})


def _summary(runs: pd.DataFrame) -> str:
    if runs.empty:
        return "No run yet."
    ready = runs[runs["status"] == "complete"]
    tokens, heads = ready["n_tokens"].fillna(0).sum(), ready["n_heads"].fillna(0).sum()
    sentence = (
        f"{len(ready)} {'run' if len(ready) == 1 else 'runs'} to look at: {heads:,} heads over {tokens:,} tokens."
        if len(ready)
        else "No run is ready to look at yet."
    )
    other = len(runs) - len(ready)
    return sentence + (f" {other} unfinished or damaged: choose the row to see why." if other else "")


def _empty() -> None:
    widgets.say(
        "Here you will see every run: one model on one set of texts or images, with every head's queries and keys. "
        "“New run” makes one from a bundled model and data in about a minute, or from your own."
    )


def _table(runs: pd.DataFrame, chosen: str | None) -> None:
    busy = {job.run_id for job in jobs.list_jobs(runs_dir()) if _writes_run(job)}
    states = [_state(run, status, busy) for run, status in zip(runs["run_id"], runs["status"])]
    names = "run_id state model data n_inputs n_tokens n_heads megabytes explains differs created".split()
    shown = with_figures(runs).assign(state=states)[names]
    shown["explains"] *= 100
    shown["created"] = pd.to_datetime(shown["created"], errors="coerce", utc=True, format="ISO8601")
    ids = runs["run_id"].tolist()
    st.session_state[_TABLE] = {"selection": {"rows": [ids.index(chosen)] if chosen in ids else [], "columns": []}}
    st.dataframe(
        shown, key=_TABLE, hide_index=True, width="stretch", height="content", on_select=lambda: _choose(ids),
        selection_mode="single-row", placeholder="–", column_config=_columns(),
        alt="Table of runs: name, state, model, data, counts, size, what its maps explain, exactness and date.",
    )  # fmt: skip
    if chosen in ids:
        render_run(runs.iloc[ids.index(chosen)], states[ids.index(chosen)])
    else:
        can = "open, resume or delete a run" if runs_models() else "open a run"
        st.caption(f"Choose a row (with the keyboard: Shift and Space) to {can}, or to see why it cannot be opened.")


def _choose(ids: list[str]) -> None:
    rows = st.session_state[_TABLE]["selection"]["rows"]
    widgets.select(**{ROW: ids[rows[0]] if rows and rows[0] < len(ids) else None})


def _columns() -> dict:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "run_id": text("run", pinned=True, width=268, help=meaning("run")),
        "state": text("state", width=72),
        "model": text("model", width=104),
        "data": text("data", width=108),
        "n_inputs": number("inputs", format="localized", width=50, help=meaning("input")),
        "n_tokens": number("tokens", format="localized", width=56, help=meaning("token")),
        "n_heads": number("heads", format="localized", width=50, help=meaning("head")),
        "megabytes": number("MB", format="%.1f", width=48, help="Size of its files on disk, in millions of bytes."),
        "explains": number(
            "explains", format="%.0f %%", width=70, help=meaning("map explains", "Median over the heads.")
        ),
        "differs": number(
            "certificate", format="%.0e", width=76,
            help=meaning("certificate", "The figure is the largest difference of a weight, which is 0 to 1."),
        ),
        "created": st.column_config.DatetimeColumn("made (UTC)", format="YYYY-MM-DD", width=88),
    }  # fmt: skip


def _writes_run(job: jobs.Job) -> bool:
    return job.state == jobs.RUNNING and job.request.makes_run


def _state(run_id: str, status: str, busy: set[str | None]) -> str:
    return "being made" if run_id in busy and status != "complete" else WORDS.get(status.partition(":")[0], status)


VIEW = View("Runs", ":material/database:", order=60, render=render_runs, needs="nothing")

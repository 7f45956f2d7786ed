"""Runs: what there is, what is being made, and a form for a new one."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.store import runs_dir
from app import cache, jobs, widgets
from app.job_request import is_repeatable, request_of
from app.state import Selection
from app.views import View
from app.views.job_cards import from_beginning, render_jobs
from app.views.run_details import render_details
from app.views.run_form import render_form

WORDS = {"complete": "ready", "partial": "unfinished", "damaged": "damaged", "newer": "made by a newer version"}
"""A run's status as the list gives it (its first word), and as the page says it."""


def render_runs(selection: Selection) -> None:
    """Draw the page."""
    runs = cache.runs()
    ask = selection.options.get("new") == "1"
    sentence, button = st.columns([1, 0.16], vertical_alignment="center")
    sentence.markdown(_summary(runs))
    if ask:
        button.button("Close the form", on_click=lambda: widgets.select(new=None), width="stretch", key="runs_close")
    else:
        button.button(
            "New run", type="primary", icon=":material/add:", on_click=lambda: widgets.select(new="1"),
            width="stretch", key="runs_new",
        )  # fmt: skip
    render_jobs()
    if ask:
        render_form(runs)
    if runs.empty:
        if not ask:
            _empty()
        return
    _table(runs)


def _summary(runs: pd.DataFrame) -> str:
    if runs.empty:
        return "No runs yet."
    ready = runs[runs["status"] == "complete"]
    tokens, heads = ready["n_tokens"].fillna(0).sum(), ready["n_heads"].fillna(0).sum()
    sentence = (
        f"{len(ready)} {'run' if len(ready) == 1 else 'runs'} to look at: {heads:,} heads over {tokens:,} tokens."
    )
    other = len(runs) - len(ready)
    return sentence + (f" {other} unfinished or damaged: choose the row to see why." if other else "")


def _empty() -> None:
    st.markdown("##### No run yet")
    st.markdown(
        "Here you will see every run: one model on one set of texts or images, with every head's queries and keys. "
        "“New run” makes one from a bundled model and data in about a minute, or from your own."
    )


def _table(runs: pd.DataFrame) -> None:
    busy = {job.run_id for job in jobs.list_jobs(runs_dir()) if job.state == jobs.RUNNING}
    states = [_state(run, status, busy) for run, status in zip(runs["run_id"], runs["status"])]
    names = "run_id state model data modality n_inputs n_tokens n_heads created".split()
    shown = runs.assign(state=states)[names]
    shown["created"] = pd.to_datetime(shown["created"], errors="coerce", utc=True, format="ISO8601")
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    chosen = st.dataframe(
        shown,
        key="runs_table",
        hide_index=True,
        width="stretch",
        height="content",
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        alt="Table of runs: name, model, data, counts, date and state.",
        column_config={
            "run_id": text("run", pinned=True, width=255),
            "model": text("model"),
            "data": text("data"),
            "modality": text("kind", width="small"),
            "n_inputs": number("inputs", format="localized", width="small"),
            "n_tokens": number("tokens", format="localized", width="small"),
            "n_heads": number("heads", format="localized", width="small"),
            "created": st.column_config.DatetimeColumn("created (UTC)", format="YYYY-MM-DD HH:mm"),
            "state": text("state", width="small"),
        },
    ).selection.rows
    if not chosen or chosen[0] >= len(runs):
        st.caption("Choose a row to open a run, or to see why it cannot be opened.")
        return
    _chosen(runs.iloc[chosen[0]], states[chosen[0]])


def _state(run_id: str, status: str, busy: set[str | None]) -> str:
    return "being made" if run_id in busy and status != "complete" else WORDS.get(status.partition(":")[0], status)


def _chosen(run: pd.Series, state: str) -> None:
    """What can be done with the run of the chosen row."""
    run_id = str(run["run_id"])
    if run["status"] == "complete":
        if st.button(f"Open {run_id}", type="primary", icon=":material/grid_view:", key="runs_open"):
            widgets.open_view("atlas", **from_beginning(run_id))
        try:
            render_details(run_id)
        except UserError as error:
            widgets.say_problem(str(error))
        return
    if state == "being made":
        st.info(f"{run_id} is being made now: its card is above.", icon=":material/hourglass_top:")
    elif run["status"] == "partial":
        _unfinished(run)
    else:
        reason = run["status"].partition(":")[2].strip()
        st.error(widgets.plain(f"{run_id} cannot be opened: {reason}"), icon=":material/error:")
        _again(run_id)


def _unfinished(run: pd.Series) -> None:
    run_id = str(run["run_id"])
    st.warning(
        f"{widgets.plain(run_id)} is unfinished: the job that made it was stopped. What it has captured is kept; going "
        "on with it repeats at most one batch.",
        icon=":material/pause_circle:",
    )
    earlier = next((job for job in jobs.list_jobs(runs_dir()) if job.run_id == run_id), None)
    spec = _spec(run_id)
    if earlier is None and not is_repeatable(spec):
        _repeat_by_hand(spec, run_id)
        return
    request = request_of(spec, run_id) if earlier is None else replace(earlier.request, run_id=run_id)
    if st.button("Resume", type="primary", icon=":material/play_arrow:", key="runs_resume"):
        try:
            jobs.start_job(runs_dir(), request)
        except UserError as error:
            widgets.say_problem(str(error))
        else:
            if earlier is not None:
                jobs.dismiss_job(runs_dir(), earlier.job_id)
            st.rerun()
    if earlier is None:
        st.caption("It was started outside this page. The button runs this command, which a terminal does as well:")
        st.code(request.command(), language="bash", wrap_lines=True)


def _again(run_id: str) -> None:
    """How to make a damaged run once more, under another name."""
    spec = _spec(run_id)
    st.caption("Published runs are never changed. Copy it back from a backup, or make it again under another name:")
    if is_repeatable(spec):
        st.code(request_of(spec, f"{run_id}-again").command(), language="bash", wrap_lines=True)
    else:
        _repeat_by_hand(spec, f"{run_id}-again")


def _repeat_by_hand(spec: dict, run_id: str) -> None:
    """A model or data of a local folder: the run knows its name only, and a guess would be a wrong command."""
    if not spec:
        st.caption("It does not say what made it: repeat the command you used.")
        return
    request = request_of(spec, run_id)
    st.caption(
        widgets.plain(
            f"It was made from model {request.model or '?'} and data {request.data or '?'}. Where a local folder or "
            "file lies is not kept in a run: repeat the command you used, with these settings:"
        )
    )
    st.code(shlex.join(request.settings()), language="bash", wrap_lines=True)


def _spec(run_id: str) -> dict:
    """The settings of a run, also of one that does not open; empty where nothing of them can be read."""
    for name, part in ((f"{run_id}.partial/spec.json", None), (f"{run_id}/manifest.json", "spec")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            read = json.loads((runs_dir() / name).read_bytes())
            return dict((read if part is None else read.get(part)) or {})
    return {}


VIEW = View("Runs", ":material/database:", order=60, render=render_runs, needs="nothing")

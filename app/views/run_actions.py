"""What can be done with the run of the chosen row: open, go on with, make again, delete."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.store import runs_dir
from app import jobs, widgets
from app.cache.run_list import spec
from app.hosted.public import runs_models
from app.hosted.visitor import is_mine, visitor
from app.jobs.requests.extraction import JobRequest, is_repeatable, request_of
from app.run_folder import delete_run, find_folder, size_bytes
from app.views.job_cards import from_beginning
from app.views.run_details import render_details
from app.views.run_export import export_popover


def render_run(run: pd.Series, state: str) -> None:
    """Draw what belongs to the chosen row.

    Args:
        run: Its row of `analysis.list_runs`.
        state: As the table says it.
    """
    run_id = str(run["run_id"])
    with st.container(horizontal=True, key="run_buttons"):
        if run["status"] == "complete":
            opens = st.button(f"Open {run_id}", type="primary", icon=":material/grid_view:", key="runs_open")
        else:
            opens = False
        if run["status"] == "complete" and runs_models():
            export_popover(run_id)
        if state != "being made" and (runs_models() or is_mine(run_id)):
            _delete(run_id)
    if opens:
        widgets.open_view("atlas", **from_beginning(run_id))
    if run["status"] == "complete":
        _details(run_id)
    elif state == "being made":
        st.info(f"{widgets.plain(run_id)} is being made now: its card is above.", icon=":material/hourglass_top:")
    elif run["status"] == "partial":
        _unfinished(run_id)
    else:
        reason = run["status"].partition(":")[2].strip()
        st.error(widgets.plain(f"{run_id} cannot be opened: {reason}"), icon=":material/error:")
        if runs_models():
            _again(run_id)


def _details(run_id: str) -> None:
    try:
        render_details(run_id)
    except UserError as error:
        widgets.say_problem(str(error))


def _delete(run_id: str) -> None:
    """A button behind a button: what goes, and that nothing brings it back."""
    with st.popover("Delete …", icon=":material/delete:"):
        try:
            megabytes = size_bytes(find_folder(runs_dir(), run_id)) / 1e6
        except UserError as error:
            return st.caption(widgets.plain(str(error)))
        st.markdown(
            widgets.plain(f"Delete {run_id}, {megabytes:.1f} MB? Nothing brings it back but the model and the data.")
        )
        if not st.button("Delete for good", key="runs_delete", type="primary"):
            return None
        try:
            delete_run(runs_dir(), run_id, visitor())
        except UserError as error:
            return widgets.say_problem(str(error))
        shown = widgets.current().run
        widgets.select(row=None, **(from_beginning(None) if shown == run_id else {}))
        st.toast(widgets.plain(f"{run_id} is deleted."), icon=":material/delete:")
        return st.rerun()


def _unfinished(run_id: str) -> None:
    if not runs_models():
        return st.warning(f"{widgets.plain(run_id)} is unfinished.", icon=":material/pause_circle:")
    st.warning(
        f"{widgets.plain(run_id)} is unfinished: the job that made it was stopped. What it has captured is kept; going "
        "on with it repeats at most one batch.",
        icon=":material/pause_circle:",
    )
    earlier = next((job for job in jobs.list_jobs(runs_dir()) if _made(job, run_id)), None)
    settings = spec(run_id)
    if earlier is None and not is_repeatable(settings):
        return _repeat_by_hand(settings, run_id)
    request = request_of(settings, run_id) if earlier is None else replace(earlier.request, run_id=run_id)
    if st.button("Resume", type="primary", icon=":material/play_arrow:", key="runs_resume"):
        _resume(request, earlier)
    if earlier is None:
        st.caption("It was started outside this page. The button runs this command, which a terminal does as well:")
        st.code(request.command(), language="bash", wrap_lines=True)
    return None


def _made(job: jobs.Job, run_id: str) -> bool:
    return job.run_id == run_id and isinstance(job.request, JobRequest)


def _resume(request: JobRequest, earlier: jobs.Job | None) -> None:
    try:
        jobs.start_job(runs_dir(), request)
    except UserError as error:
        return widgets.say_problem(str(error))
    if earlier is not None:
        jobs.dismiss_job(runs_dir(), earlier.job_id)
    return st.rerun()


def _again(run_id: str) -> None:
    """How to make a damaged run once more, under another name."""
    settings = spec(run_id)
    st.caption("Published runs are never changed. Copy it back from a backup, or make it again under another name:")
    if is_repeatable(settings):
        st.code(request_of(settings, f"{run_id}-again").command(), language="bash", wrap_lines=True)
    else:
        _repeat_by_hand(settings, f"{run_id}-again")


def _repeat_by_hand(settings: dict, run_id: str) -> None:
    """A model or data of a local folder: the run knows its name only, and a guess would be a wrong command."""
    if not settings:
        st.caption("It does not say what made it: repeat the command you used.")
        return
    request = request_of(settings, run_id)
    st.caption(
        widgets.plain(
            f"It was made from model {request.model or '?'} and data {request.data or '?'}. Where a local folder or "
            "file lies is not kept in a run: repeat the command you used, with these settings:"
        )
    )
    st.code(shlex.join(request.settings()), language="bash", wrap_lines=True)

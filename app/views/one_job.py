"""The job of one request, shown beside what it is for: begin it, watch it, cancel it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import streamlit as st

from analysis.errors import UserError
from analysis.inputs import BUNDLED_DATA
from analysis.store import runs_dir
from app import cache, jobs, widgets
from app.cache import new_input
from app.hosted.visitor import visitor
from app.jobs.requests.extraction import JobRequest
from app.views.job_cards import EVERY_SECONDS, progress_words, share_done


class Sources(NamedTuple):
    """Where a run's model and data are found again; None where their names are enough."""

    model: str | None
    data: str | None


def sources_of(run_id: str) -> Sources | None:
    """Where they are; None where nobody here knows."""
    if new_input.lacks_model(run_id):
        return None
    data, run = None, cache.run(run_id)
    if run.modality == "vision" and run.manifest.get("data") not in BUNDLED_DATA:
        made = [job.request for job in jobs.list_jobs(runs_dir()) if job.run_id == run_id]
        known = [asked.data for asked in made if isinstance(asked, JobRequest) and Path(asked.data).exists()]
        if not known:
            return None
        data = known[0]
    return Sources(new_input.model_folder(run_id), data)


def newest(request: jobs.Request | None) -> jobs.Job | None:
    """The newest job of this request."""
    return next((job for job in jobs.jobs_of(runs_dir(), visitor()) if job.request == request), None)


def begin(request: jobs.Request) -> None:
    """Start it, and put away what is left of earlier tries; what goes wrong is said in passing."""
    for job in jobs.jobs_of(runs_dir(), visitor()):
        if job.request == request and job.state != jobs.RUNNING:
            jobs.dismiss_job(runs_dir(), job.job_id, visitor())
    try:
        jobs.start_job(runs_dir(), request)
    except UserError as error:
        st.toast(widgets.plain(str(error)), icon=":material/error:")


def watch(request: jobs.Request, doing: str, key: str) -> None:
    """How far it has come, every second, and a button that stops it; the page is drawn anew once it has ended.

    Args:
        doing: Before the figures, as in ``Making the map umap``.
        key: Of the button.
    """
    st.fragment(_progress, run_every=EVERY_SECONDS)(request, doing, key)


def _progress(request: jobs.Request, doing: str, key: str) -> None:
    job = newest(request)
    if job is None or job.state != jobs.RUNNING:
        st.rerun()
    words, button = st.columns([1, 0.16], vertical_alignment="center", gap="small")
    with words:
        st.progress(share_done(job.progress), text=widgets.plain(f"{doing}: {progress_words(job)}"))
    button.button(
        "Stopping …" if job.cancelling else "Cancel", key=key, disabled=job.cancelling, width="stretch",
        on_click=jobs.cancel_job, args=(runs_dir(), job.job_id), kwargs={"visitor": visitor()},
    )  # fmt: skip

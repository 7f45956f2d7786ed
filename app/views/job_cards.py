"""Jobs as cards: stage, bar, rate, time left and cancel; how it ended, until somebody puts the card away."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.errors import UserError
from analysis.store import runs_dir
from app import jobs, widgets
from app.hosted import line
from app.hosted.public import runs_models
from app.hosted.visitor import visitor
from app.jobs.requests.export import ExportRequest
from app.jobs.requests.map import MapRequest
from app.state import OF_ONE_RUN
from app.views.run_export import fetch_button

EVERY_SECONDS = 1.0
STAGES = ("load", "encode", "capture", "scores", "project", "publish")
DOING = {
    "load": "Loading the model",
    "encode": "Reading the data",
    "capture": "Capturing queries and keys",
    "scores": "Scoring the heads",
    "project": "Making the maps",
    "publish": "Publishing",
    "done": "Done",
}
_WORKING = ("capture", "project", "export")
"""Stages in which what is no run is made."""


def render_jobs() -> None:
    """The cards of all jobs nobody has put away; refreshed every second while one runs."""
    states = [job.state for job in _shown()]
    is_active = any(state in jobs.ACTIVE for state in states)
    st.fragment(_cards, run_every=EVERY_SECONDS if is_active else None)(states)


def _shown() -> list[jobs.Job]:
    return [job for job in jobs.jobs_of(runs_dir(), visitor()) if not job.dismissed]


def _cards(states_before: list[str]) -> None:
    shown = _shown()
    if states_before != [job.state for job in shown]:
        st.rerun()
    place = line.places(runs_dir()) if any(job.state == jobs.WAITING for job in shown) else {}
    for job in shown:
        with st.container(border=True, key=f"job_{job.job_id}"):
            _card(job, place.get(job.job_id, 1))


def _card(job: jobs.Job, place: int) -> None:
    name = job.request.title
    words, button = st.columns([1, 0.14], vertical_alignment="center")
    if job.state == jobs.WAITING:
        words.text(f"{name}  ·  {line.ordinal(place)} in line")
        words.caption("It begins by itself when its turn comes; this page need not stay open.")
        _cancel(button, job, "Cancel")
        return
    if job.state == jobs.RUNNING:
        words.text(f"{name}  ·  {stage_words(job.progress, job.request)}")
        _cancel(button, job, "Stopping …" if job.cancelling else "Cancel")
        st.progress(share_done(job.progress), text=None)
        st.caption(widgets.plain(progress_words(job)))
        return
    if job.state == jobs.DONE and isinstance(job.request, ExportRequest):
        words.text(f"{name}  ·  ready; it goes when its card is put away, or after a day")
        with words:
            fetch_button(job)
    elif job.state == jobs.DONE:
        words.text(f"{name}  ·  ready{': ' + job.run_id if job.run_id else ''}")
        if button.button("Open run", key=f"open_{job.job_id}", type="primary", width="stretch") and job.run_id:
            jobs.dismiss_job(runs_dir(), job.job_id, visitor())
            widgets.open_view(_view(job), **{**from_beginning(job.run_id), "map": _made_map(job)})
    else:
        words.text(f"{name}  ·  {job.state}")
        words.caption(widgets.plain(job.error))
        if (job.state != jobs.FAILED or job.run_id) and runs_models():
            words_on = "Resume" if job.request.makes_run else "Start again"
            button.button(words_on, key=f"resume_{job.job_id}", on_click=_resume, args=(job,), width="stretch")
    button.button(
        "Put away",
        key=f"away_{job.job_id}",
        type="tertiary",
        on_click=jobs.dismiss_job,
        args=(runs_dir(), job.job_id, visitor()),
        width="stretch",
    )


def _cancel(button: DeltaGenerator, job: jobs.Job, words: str) -> None:
    button.button(
        words, key=f"cancel_{job.job_id}", disabled=job.cancelling, on_click=jobs.cancel_job,
        args=(runs_dir(), job.job_id), kwargs={"visitor": visitor()}, width="stretch",
    )  # fmt: skip


def from_beginning(run_id: str | None) -> dict[str, str | None]:
    """The changes of the selection that show a run from its beginning."""
    return {**dict.fromkeys((*OF_ONE_RUN, "form", "row", "tour")), "run": run_id}


def _view(job: jobs.Job) -> str:
    """The page with what it has made."""
    return getattr(job.request, "view", "atlas")


def _made_map(job: jobs.Job) -> str | None:
    return job.request.kind.name if isinstance(job.request, MapRequest) else None


def _resume(job: jobs.Job) -> None:
    again = replace(job.request, run_id=job.run_id) if job.request.makes_run else job.request
    try:
        jobs.start_job(runs_dir(), again)
    except UserError as error:
        st.toast(widgets.plain(str(error)), icon=":material/error:")
    else:
        jobs.dismiss_job(runs_dir(), job.job_id)


def stage_words(progress: dict, request: jobs.Request | None = None) -> str:
    """What it is doing: ``Capturing queries and keys (step 3 of 6)``; others than runs have one step."""
    stage = progress.get("stage")
    if request is not None and not request.makes_run:
        return request.doing if stage in _WORKING else DOING.get(stage, "Starting")
    if stage not in STAGES:
        return DOING.get(stage, "Starting")
    return f"{DOING[stage]} (step {STAGES.index(stage) + 1} of {len(STAGES)})"


def share_done(progress: dict) -> float:
    """How full the bar of the present stage is, 0 to 1."""
    total = progress.get("total") or 0
    return min(1.0, max(0.0, (progress.get("done") or 0) / total)) if total else 0.0


def progress_words(job: jobs.Job) -> str:
    """``34 of 200 inputs · 12.3 inputs a second · about 14 s left``, as far as it is known."""
    progress = job.progress
    if job.cancelling:
        return job.request.stopping if job.visitor is None else "Stopping: nothing of it will be left."
    unit, rate, left = progress.get("unit") or "units", progress.get("rate"), progress.get("eta_s")
    parts = [f"{progress['done']:,} of {progress['total']:,} {unit}"] if progress.get("total") else []
    if rate:
        parts.append(f"{rate:.3g} {unit} a second" if rate >= 1 else f"{1 / rate:.2g} s a {unit.removesuffix('s')}")
    if left is not None:
        parts.append(f"about {duration(left)} left in this step")
    return " · ".join(parts or [progress.get("message") or "The first figures come with the first batch."])


def duration(seconds: float) -> str:
    """``14 s``, ``3 min`` or ``2 h 10 min``: as exact as an estimate deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

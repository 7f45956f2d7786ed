"""The estimate under the form for a new run: it starts by itself once the form says enough and stays as it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import streamlit as st

from analysis.errors import UserError
from analysis.models import BUNDLED_MODELS
from analysis.projection import PROJECTIONS
from analysis.projection.naming import MapKind
from analysis.store import runs_dir
from app import jobs, widgets
from app.jobs.requests.extraction import JobRequest
from app.jobs.requests.map import about, seconds_to_make
from app.views.job_cards import duration

QUIET_SECONDS = 1.5
"""So long the form must stay the same before its estimate starts by itself."""

_PLAN, _MADE = "run_form_plan", "run_form_made"
"""In the session: the job of the estimate, and the last one that came to figures."""

_WAITING, _REFUSED = "run_form_waiting", "run_form_refused"
"""In the session: the request that waits and since when; what could not be started and why."""


def render_plan(request: JobRequest | None) -> None:
    """The estimate of what the form asks for; of a model on this machine it starts by itself.

    Args:
        request: None while the form lacks something.
    """
    job_id = st.session_state.get(_PLAN)
    job = jobs.read_job(runs_dir(), job_id) if job_id else None
    if job is not None and job.request == request:
        running = job.state == jobs.RUNNING
        st.fragment(_plan_words, run_every=0.5 if running else None)(job_id, running)
        if not running:
            st.session_state[_MADE] = job_id if job.plan else None
            return
    elif request is None or not _is_here(request.model):
        st.caption("Estimate tells heads, tokens, time, memory and disk before anything is made; it takes seconds.")
    elif st.session_state.get(_REFUSED, (None, ""))[0] == request:
        widgets.say_problem(st.session_state[_REFUSED][1])
    else:
        if st.session_state.get(_WAITING, (None,))[0] != request:
            st.session_state[_WAITING] = (request, time.monotonic())
        st.fragment(_wait, run_every=0.5)(request)
    _say_last()


def _say_last() -> None:
    """The figures of the last estimate stay until there are new ones."""
    made = st.session_state.get(_MADE)
    job = jobs.read_job(runs_dir(), made) if made else None
    if job is not None and job.plan:
        st.caption("The form has changed since this estimate was made:")
        _plan_figures(job.plan, job.request.projections)


def start_plan(request: JobRequest) -> None:
    """Start the estimate now, instead of one that is under way.

    Raises:
        UserError: The request makes no sense.
    """
    forget_plan()
    st.session_state[_PLAN] = jobs.start_job(runs_dir(), request, dry_run=True).job_id


def forget_plan() -> None:
    """Let go of the estimate, and stop it where it is still under way."""
    job_id = st.session_state.pop(_PLAN, None)
    if job_id is not None:
        jobs.cancel_job(runs_dir(), job_id)


def _is_here(model: str) -> bool:
    """Whether nothing is downloaded to look at it: an estimate of a model of the hub is asked for with the button."""
    return model in BUNDLED_MODELS or Path(model).is_dir()


def _wait(request: JobRequest) -> None:
    st.caption("The estimate starts by itself: heads, tokens, time, memory and disk before anything is made.")
    waiting, since = st.session_state.get(_WAITING, (None, 0.0))
    if waiting != request or time.monotonic() - since < QUIET_SECONDS:
        return
    try:
        start_plan(request)
    except UserError as error:
        st.session_state[_REFUSED] = (request, str(error))
    st.rerun()


def _plan_words(job_id: str, was_running: bool) -> None:
    job = jobs.read_job(runs_dir(), job_id)
    if job.state == jobs.RUNNING:
        words, button = st.columns([1, 0.14], vertical_alignment="center")
        words.caption(f"Loading the model and running its longest input … {time.time() - job.started:.0f} s")
        button.button(
            "Stop", key="form_plan_stop", on_click=jobs.cancel_job, args=(runs_dir(), job_id), width="stretch"
        )
    elif was_running:
        st.rerun()
    elif job.plan:
        _plan_figures(job.plan, job.request.projections)
    else:
        widgets.say_problem(job.error or "The dry run printed no plan; its log is beside the runs.")


def _plan_figures(plan: dict, maps: tuple[str, ...]) -> None:
    sites = plan["capture"]["sites"]
    heads = sum(site["n_heads"] for site in sites)
    for_maps = _map_seconds(plan, maps)
    figures = {
        "heads": f"{heads:,}",
        "inputs": f"{plan['n_inputs']:,}",
        "tokens": f"{plan['n_tokens']:,}",
        "time to capture": f"about {duration(plan['seconds'])}",
        "time for maps": f"about {about(for_maps)}" if for_maps else "no maps",
        "memory beside the model": size(plan["memory_bytes"]),
        "disk": size(plan["disk_bytes"]),
    }
    for column, (name, value) in zip(st.columns(len(figures)), figures.items()):
        column.caption(name)
        column.markdown(f"**{value}**")
    routes = ", ".join(sorted({site["route"] for site in sites}))
    exact = plan["capture"]["certificate"].get("attention_max_abs_diff")
    certificate = (
        f"; recorded attention differs from the model's own by at most {exact:.1e}" if exact is not None else ""
    )
    n_sites = f"{len(sites)} attention site{'s' * (len(sites) != 1)}"
    widgets.say(f"{n_sites}, reached by {routes}{certificate}.", quiet=True)
    for note in plan.get("notes", []):
        st.text(f"Note: {note}")


def _map_seconds(plan: dict, maps: tuple[str, ...]) -> float:
    """About how long the chosen maps take here, one after the other."""
    own = [site for site in plan["capture"]["sites"] if ".self." in str(site.get("label", ".self."))]
    heads, cores = sum(site["n_heads"] for site in own), os.cpu_count() or 1
    return sum(
        seconds_to_make(MapKind(name), plan["n_tokens"], heads, cores, is_concurrent=PROJECTIONS[name].concurrent)
        for name in maps
        if name in PROJECTIONS
    )


def size(n_bytes: float) -> str:
    """``3.4 MB``: decimal units, two or three digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"

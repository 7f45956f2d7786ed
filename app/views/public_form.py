"""The form for a new run on a public page: models of the owner's list, no paths, and a place in line."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.store import runs_dir
from app import widgets
from app.hosted import line, public
from app.hosted.visitor import visitor
from app.jobs.files import check_kinds
from app.jobs.requests.extraction import JobRequest
from app.views.run_form import pick_data, pick_limits, pick_more


def render_public_form(_runs: pd.DataFrame) -> None:
    """Three columns and a button; where the page makes no runs, a sentence."""
    known = public.limits()
    if known is None or not known.models:
        st.info("This public page shows runs and makes none. Install QK Atlas to make your own.")
        return
    with st.container(border=True, key="run_form"):
        with st.container(key="run_steps"):
            first, second, third = st.columns(3, gap="medium")
        with first:
            st.markdown("**1 · Model**")
            model = st.selectbox("Model", list(known.models), key="form_model_public")
        with second:
            data = pick_data(model, known.max_upload_mb)
        with third:
            limits = pick_limits(known.max_inputs) | pick_more(model)
            wants_start = st.button("Start", key="form_start", type="primary")
        if wants_start:
            _ask(model, data, limits)
        widgets.say(public.in_words(known), quiet=True)


def _ask(model: str, data: str | list[tuple[str, bytes]], limits: dict) -> None:
    files = [] if isinstance(data, str) else data
    try:
        if not data:
            raise UserError("No data was given: upload a file, paste texts, or choose the bundled data.")
        if files:
            check_kinds(files)
        name = data if isinstance(data, str) else files[0][0]
        line.ask(runs_dir(), JobRequest(model=model, data=name, **limits), visitor(), files)
    except UserError as error:
        return widgets.say_problem(str(error))
    widgets.select(form=None)
    return st.rerun()

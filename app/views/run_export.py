"""A run as files to take away: what is wanted, and the file once it is written."""

from __future__ import annotations

import streamlit as st

from analysis.errors import UserError
from analysis.store import runs_dir
from analysis.store.export import largest_bytes, matrices_of
from app import cache, jobs, widgets
from app.bundle.chosen import chosen_inputs, chosen_words
from app.jobs.requests.export import BUNDLE, FORMATS, RUN, ExportRequest, file_of
from app.sentences import stack_title

MOST_BYTES = 2**30
"""A larger file is not sent through the page, which would hold it in memory."""

_SAYS = {
    "parquet": "Tables, and vectors as 16-bit floats: for DuckDB, pandas, polars, datasets.",
    "csv": "Tables alone, which everything reads; no vectors.",
    "safetensors": "Tables as Parquet, vectors as tensors.",
    BUNDLE: "A folder whose `index.html` shows atlas, heads and chosen inputs in any browser, without server or "
    "network; the run is in it.",
    RUN: "Its own files, unchanged: `python -m analysis import` brings them into another QK Atlas.",
}


def export_popover(run_id: str) -> None:
    """A button that opens the form."""
    with st.popover("Export …", icon=":material/download:"):
        format = st.segmented_control(
            "Format", list(FORMATS), format_func=FORMATS.get, default="parquet", required=True, key="export_format"
        )
        st.caption(_SAYS[format])
        ask = {RUN: ExportRequest, BUNDLE: _with_inputs}.get(format, _with_attention)
        request, problem = ask(run_id, format), ""
        try:
            if format == BUNDLE:
                run = cache.run(run_id)
                st.caption(chosen_words(run, chosen_inputs(run, request.chosen_inputs())))
            if attention := request.attention():
                run = cache.run(run_id)
                n_bytes = largest_bytes(run, matrices_of(run, attention))
                st.caption(f"The attention takes up to {_size(n_bytes)}, before it is compressed.")
        except UserError as error:
            problem = str(error)
            st.caption(f":material/error: {widgets.plain(problem)}")
        st.button(
            "Make the files", type="primary", key="export_go", disabled=bool(problem), on_click=_begin, args=(request,)
        )
        st.caption("One .zip with a data card: what made the run, how exactly, what each file is.")


def _with_inputs(run_id: str, format: str) -> ExportRequest:
    asked = st.text_input(
        "Inputs shown", key="export_shown", placeholder="the first ones, or 0-9,12", max_chars=200,
        help="Of these inputs the page has the attention of all heads.",
    )  # fmt: skip
    return ExportRequest(run_id, format, inputs=asked)


def _with_attention(run_id: str, format: str) -> ExportRequest:
    has_attention = st.toggle(
        "With attention matrices", key="export_attention",
        help="They can be recomputed from queries and keys, and are large: choose what you need.",
    )  # fmt: skip
    if not has_attention:
        return ExportRequest(run_id, format)
    labels = {site.label: site for site in cache.run(run_id).sites}
    sites = st.multiselect(
        "Sites", list(labels), key="export_sites", placeholder="all",
        format_func=lambda label: f"{stack_title(labels[label].stack_label)}, layer {labels[label].depth}",
    )  # fmt: skip
    inputs, strongest = st.columns(2, vertical_alignment="bottom")
    asked = inputs.text_input("Inputs", key="export_inputs", placeholder="all, or 0-9,12", max_chars=200)
    top_k = strongest.number_input(
        "Strongest weights of a query", 1, 10_000, value=None, key="export_top_k", placeholder="all",
        help="The largest so many, with what share of the row they are.",
    )  # fmt: skip
    return ExportRequest(run_id, format, tuple(sites), asked, int(top_k or 0))


def _begin(request: ExportRequest) -> None:
    jobs.delete_old_exports(runs_dir())
    try:
        jobs.start_job(runs_dir(), request)
    except UserError as error:
        st.toast(widgets.plain(str(error)), icon=":material/error:")


def fetch_button(job: jobs.Job) -> None:
    """The file of a finished export."""
    file = file_of(job.folder)
    n_bytes = file.stat().st_size if file.exists() else None
    if n_bytes is None or n_bytes > MOST_BYTES:
        lacks = "The file is gone" if n_bytes is None else f"{_size(n_bytes)} are too much to come through the page"
        st.caption(f"{lacks}: `python -m analysis export` writes it into a folder.")
        return
    st.download_button(
        f"Download {_size(n_bytes)}", file.read_bytes, f"{job.request.run_id}.zip", "application/zip", type="primary",
        key=f"fetch_{job.job_id}", on_click="ignore", icon=":material/download:",
    )  # fmt: skip


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{max(round(n_bytes / 1e3), 1)} kB"

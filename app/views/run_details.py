"""One finished run: what it holds, how exactly it was captured, and what made it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.provenance import certificate_sentences, made_by
from app import cache, widgets
from app.charts.certificate import certificate_table, left_out


def render_details(run_id: str) -> None:
    """Two columns: the certificate, and what made the run.

    Raises:
        RunError: The run does not open.
    """
    run = cache.run(run_id)
    certificate, manifest = run.certificate, run.manifest
    exact, made = st.columns([1, 1], gap="large")
    with exact, st.expander("How exactly it was captured", expanded=True):
        _certificate(certificate)
    with made, st.expander("What made it", expanded=True):
        _made(manifest)


def _certificate(certificate: dict) -> None:
    sentences = certificate_sentences(certificate)
    if not sentences:
        st.caption("This run has no certificate: it was not captured from a model.")
        return
    st.markdown("\n".join(f"- {widgets.plain(sentence)}" for sentence in sentences))
    missing = left_out(certificate)
    if len(missing):
        st.markdown(f"**{len(missing)} left out**")
        st.dataframe(missing, hide_index=True, width="stretch", height="content")
    sites = certificate_table(certificate)
    if len(sites):
        shown = {name: (short, says) for name, (short, says) in _DIFFERENCES.items() if name in sites.columns}
        short = ", ".join(f"{name} ({short})" for name, (short, _) in shown.items())
        st.caption(f"Largest difference by attention site {short}; – where it was not measured.")
        columns = {
            name: st.column_config.NumberColumn(short, format="%.1e", width=62, help=says)
            for name, (short, says) in shown.items()
        }
        text = st.column_config.TextColumn
        columns |= {"attention site": text(width=106), "reached by": text(width=76, help=_ROUTES)}
        st.dataframe(sites, hide_index=True, width="stretch", height="content" if len(sites) <= _WHOLE else 260,
                     column_config=columns, placeholder="–")  # fmt: skip


_ROUTES = "The attention interface of transformers, or tracing: following the model's operations."

_WHOLE = 8
"""A table of so many rows is shown whole; longer ones scroll."""

_DIFFERENCES = {
    "from the model's own": (
        "own", "Our weights against what the model's eager attention returns for the same arguments."
    ),
    "from a pass in eager mode": ("eager", "Our weights against those of another pass of the model, in eager mode."),
    "weights times values": (
        "values", "Our weights times the recorded values against the output of the model's kernel, as a share of its "
        "size.",
    ),
    "from stored q and k": (
        "stored", "Weights recomputed from the 16-bit queries and keys of the run against the recorded ones."
    ),
}  # fmt: skip
"""Columns of the table: how it is called there, in short, and what it says."""


def _made(manifest: dict) -> None:
    table = pd.DataFrame(made_by(manifest), columns=["setting", "value"])
    st.dataframe(table, hide_index=True, width="stretch", height="content",
                 column_config={"setting": st.column_config.TextColumn(width="small")})  # fmt: skip
    for note in manifest.get("notes") or []:
        st.text(f"Note: {note}")
    skipped = manifest.get("skipped") or []
    if skipped:
        st.markdown(f"**{len(skipped):,} left out of the data**")
        st.dataframe(pd.DataFrame(skipped, columns=["input", "reason"]), hide_index=True, width="stretch",
                     height=min(36 * (len(skipped) + 1), 200))  # fmt: skip

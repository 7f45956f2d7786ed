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
        st.caption("Largest difference by attention site; – where it was not measured.")
        figures = {
            name: st.column_config.NumberColumn(format="%.1e", help=_MEANINGS.get(name))
            for name in sites.columns
            if name in _MEANINGS
        }
        st.dataframe(sites, hide_index=True, width="stretch", height=min(36 * (len(sites) + 1), 260),
                     column_config=figures, placeholder="–")  # fmt: skip


_MEANINGS = {
    "from the model's own": "Our weights against what the model's eager attention returns for the same arguments.",
    "from a pass in eager mode": "Our weights against those of another pass of the model, run in eager mode.",
    "weights times values": "Our weights times the recorded values against the output of the model's kernel, as a "
    "share of its size.",
    "from stored q and k": "Weights recomputed from the 16-bit queries and keys of the run against the recorded ones.",
}


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

"""What the page keeps of cuts of sinks: what was measured, its means, and the answers that changed most."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analysis.store.run import runs_dir
from app import cache


def measured(run_id: str) -> dict[str, dict[str, Any]]:
    """What was measured, by the name of its add-on; see `analysis.pipeline.sink_cuts.SinkCut.facts`."""
    return _measured(run_id, str(runs_dir()), cache.stamp(run_id))


def summary(run_id: str, name: str) -> pd.DataFrame:
    """Means over inputs of one add-on, as `analysis.pipeline.sink_cuts.summarise_cuts` gives them; shared."""
    return _summary(run_id, str(runs_dir()), cache.stamp(run_id), name).copy(deep=False)


@st.cache_data(max_entries=16, show_spinner=False)
def _measured(run_id: str, folder: str, stamp: str) -> dict[str, dict[str, Any]]:
    from analysis.pipeline.sink_cuts import published

    return published(cache.run(run_id))


@st.cache_resource(max_entries=16, show_spinner=False)
def _summary(run_id: str, folder: str, stamp: str, name: str) -> pd.DataFrame:
    from analysis.pipeline.sink_cuts import summarise_cuts

    facts = _measured(run_id, folder, stamp)[name]
    per_input = cache.run(run_id).sink_cuts()
    mine = per_input[per_input["cut"].isin([made["cut"] for made in facts["cuts"]])]
    return summarise_cuts(mine.reset_index(drop=True), seed=int(facts["seed"]))

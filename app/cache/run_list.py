"""What the list of runs says of each: its size, what its maps keep, how exactly it was captured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.store import open_run, runs_dir
from app import cache
from app.run_folder import find_folder, size_bytes

FIGURES = ("megabytes", "explains", "differs")


def with_figures(runs: pd.DataFrame) -> pd.DataFrame:
    """The list of runs with three more columns.

    Returns:
        megabytes: Of all files. explains: KL explained by the run's first map, median over heads; NaN without a map.
        differs: Largest difference of recorded from the model's own attention weights; NaN where not measured.
    """
    rows = [_figures_of(run_id, status) for run_id, status in zip(runs["run_id"], runs["status"])]
    return runs.assign(**{name: [row[name] for row in rows] for name in FIGURES})


def _figures_of(run_id: str, status: str) -> dict[str, float]:
    folder = runs_dir()
    try:
        size = size_bytes(find_folder(folder, run_id)) / 1e6
    except UserError:
        size = np.nan
    opened = _opened_figures(run_id, str(folder), cache.stamp(run_id)) if status == "complete" else {}
    return {"megabytes": size, "explains": opened.get("explains", np.nan), "differs": opened.get("differs", np.nan)}


@st.cache_data(max_entries=400, show_spinner=False)
def _opened_figures(run_id: str, folder: str, stamp: str) -> dict[str, float]:
    try:
        with open_run(run_id, folder) as run:
            maps = run.projections()
            fidelity = run.fidelity(str(maps["name"].iloc[0])) if len(maps) else pd.DataFrame()
            differs = run.certificate.get("attention_max_abs_diff")
    except (UserError, OSError):
        return {}
    explained = fidelity["kl_explained"].median() if "kl_explained" in fidelity else np.nan
    is_measured = isinstance(differs, int | float) and not isinstance(differs, bool)
    return {"explains": float(explained), "differs": float(differs) if is_measured else np.nan}


def spec(run_id: str) -> dict[str, Any]:
    """The settings of a run, also of one that does not open; empty where nothing of them can be read."""
    for name, part in ((f"{run_id}.partial/spec.json", None), (f"{run_id}/manifest.json", "spec")):
        found = _read(runs_dir() / name)
        found = found if part is None else found.get(part)
        if isinstance(found, dict) and found:
            return found if _is_sound(found) else {}
    return {}


_NUMBERS, _LISTS = "limit seed generate".split(), {"layers": int, "projection": str}
_WORDS = "model model_revision data attention part target dtype load_in chat".split()


def _is_sound(settings: dict[str, Any]) -> bool:
    """Whether what makes a command is of the kinds that a run writes down: the file may be anybody's."""
    kinds = dict.fromkeys(_NUMBERS, int) | dict.fromkeys(_WORDS, str) | dict.fromkeys(_LISTS, list)
    said = {name: settings[name] for name in kinds if settings.get(name) is not None}
    return all(isinstance(value, kinds[name]) for name, value in said.items()) and all(
        isinstance(each, _LISTS[name]) for name in _LISTS for each in said.get(name, [])
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

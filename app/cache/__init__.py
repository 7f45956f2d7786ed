"""Everything the page keeps between reruns. Arguments are strings and numbers only.

A run is immutable, so what is read from it is kept under its id and its *stamp*: the names, sizes and dates of
its files. A projection added later adds a file, changes the stamp, and so is seen at once. Arrays and tables are
shared, not copied at every look: arrays are read-only, a table is a view that copies itself when written to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import UnknownName
from analysis.store.run import Run, list_runs, open_run, runs_dir
from analysis.types import KEY, QUERY
from app.cache import spelled, two_texts, whole
from app.charts.head_measures import measure_words
from app.charts.head_table import head_table
from app.hosted import visitors
from app.hosted.visitor import visitor
from app.jobs.requests.map import kind_of, without_sinks
from app.state import RunFacts

LONG_TOKENS = 1024
"""From here on a matrix is megabytes: few of them are kept."""


def runs(linked: str | None = None) -> pd.DataFrame:
    """The runs there are, as `analysis.list_runs` gives them; damaged and unfinished ones too.

    On a public page without runs of other visitors, but for the one that a link names (`linked`).
    """
    folder = runs_dir()
    found = _runs(str(folder), _folder_stamp(folder))
    shown = visitors.listed(folder, found["run_id"], visitor(), linked)
    return found if len(shown) == len(found) else found[found["run_id"].isin(shown)].reset_index(drop=True)


def run(run_id: str) -> Run:
    """The run, opened once for all sessions.

    Raises:
        RunError: It is missing, unfinished or damaged, in one sentence.
    """
    return _run(run_id, str(runs_dir()), stamp(run_id))


def facts(run_id: str) -> RunFacts:
    """What the run offers to choose from."""
    return _facts(run_id, str(runs_dir()), stamp(run_id))


def stamp(run_id: str) -> str:
    """Changes whenever a file of the run is added or replaced.

    Raises:
        RunError: On a public page, where the beginning of a name must not open the run of a visitor.
    """
    visitors.check_whole(runs_dir(), run_id)
    return _folder_stamp(runs_dir() / run_id)


def frozen(array: np.ndarray) -> np.ndarray:
    """The same array, which from here on cannot be written to."""
    array.flags.writeable = False
    return array


def _folder_stamp(folder: Path) -> str:
    if not folder.is_dir():
        return "missing"
    # What is still being made in a run is of no account, and may go while it is looked at.
    shown = [entry for entry in folder.iterdir() if not entry.name.startswith(".add-")]
    entries = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in shown]
    return json.dumps(sorted(entries))


@st.cache_data(max_entries=4, show_spinner=False)
def _runs(folder: str, stamp: str) -> pd.DataFrame:
    return list_runs(folder)


@st.cache_resource(max_entries=8, show_spinner=False, on_release=lambda run: run.close())
def _run(run_id: str, folder: str, stamp: str) -> Run:
    return open_run(run_id, folder)


@st.cache_data(max_entries=16, show_spinner=False)
def _facts(run_id: str, folder: str, stamp: str) -> RunFacts:
    opened = _run(run_id, folder, stamp)
    inputs, scores, maps = opened.inputs(), opened.head_scores(), opened.projections()
    return RunFacts(
        run=run_id,
        sites=tuple(opened.sites),
        maps=tuple(maps["name"]),
        columns=tuple(opened.token_columns()),
        scores=tuple(dict.fromkeys(scores["metric"])) if len(scores) else (),
        n_tokens={int(i): int(n) for i, n in zip(inputs["input_id"], inputs["n_tokens"])},
        without_sinks=without_sinks({str(row["name"]): kind_of(row) for row in maps.to_dict("records")}),
    )


def tokens(run_id: str) -> pd.DataFrame:
    """The token table, one row a token, in the order of every vector of the run."""
    return _read(run_id, str(runs_dir()), stamp(run_id))[0].copy(deep=False)


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(run_id: str, folder: str, stamp: str) -> tuple[pd.DataFrame, dict[int, str]]:
    """The tokens, and the texts that they are of."""
    opened = _run(run_id, folder, stamp)
    tokens, inputs = opened.tokens(), opened.inputs()
    if spelled.has_frames(tokens, opened.modality):
        tokens, inputs = spelled.as_text(tokens, inputs)
    if "text" not in inputs:
        return tokens, {}
    if len(opened.sequences) > 1 and "target" in inputs:
        return two_texts.moved_on(tokens, inputs), two_texts.joined(inputs)
    return tokens, dict(zip(inputs["input_id"].tolist(), inputs["text"].tolist()))


def inputs(run_id: str) -> pd.DataFrame:
    """The inputs, one row a text or image."""
    return _inputs(run_id, str(runs_dir()), stamp(run_id)).copy(deep=False)


@st.cache_resource(max_entries=4, show_spinner=False)
def _inputs(run_id: str, folder: str, stamp: str) -> pd.DataFrame:
    return _run(run_id, folder, stamp).inputs()


def attention(run_id: str, site: str, head: int, input_id: int) -> np.ndarray:
    """Attention of one head on one input, ``[query, key]`` over all its tokens, as measures take it (`Reader.shares`);
    the run recomputes it where it is not stored."""
    read = _long_attention if facts(run_id).n_tokens.get(input_id, 0) > LONG_TOKENS else _attention
    return read(run_id, str(runs_dir()), stamp(run_id), site, head, input_id)


@st.cache_resource(max_entries=4, show_spinner=False)
def _long_attention(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> np.ndarray:
    opened = _run(run_id, folder, stamp)
    return frozen(whole.matrix(opened, site, input_id, opened.shares(site, head, input_id)))


@st.cache_resource(max_entries=64, show_spinner=False)
def _attention(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> np.ndarray:
    opened = _run(run_id, folder, stamp)
    return frozen(whole.matrix(opened, site, input_id, opened.shares(site, head, input_id)))


def signed_attention(run_id: str, site: str, head: int, input_id: int) -> np.ndarray:
    """The implicit attention of a state-space layer as it is, ``[query, key]`` over all tokens of the input."""
    return _signed_attention(run_id, str(runs_dir()), stamp(run_id), site, head, input_id)


@st.cache_resource(max_entries=4, show_spinner=False)
def _signed_attention(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> np.ndarray:
    opened = _run(run_id, folder, stamp)
    return frozen(whole.matrix(opened, site, input_id, opened.attention(site, head, input_id)))


def message(what: str, run_id: str, make: Callable[[], bytes]) -> bytes:
    """What `make` packs for the browser, kept under `what`, which must name everything it depends on but the run."""
    return _message(what, run_id, str(runs_dir()), stamp(run_id), make)


@st.cache_data(max_entries=32, show_spinner=False)
def _message(what: str, run_id: str, folder: str, stamp: str, _make: Callable[[], bytes]) -> bytes:
    return _make()


def points(run_id: str, map_name: str, site: str, head: int) -> tuple[np.ndarray, np.ndarray]:
    """The map of one head: queries and keys, each float32 ``[token, 2 or 3]`` in token-table order; NaN for tokens that
    have no such point, being of another sequence."""
    return _points(run_id, str(runs_dir()), stamp(run_id), map_name, site, head)


@st.cache_resource(max_entries=48, show_spinner=False)
def _points(run_id: str, folder: str, stamp: str, map_name: str, site: str, head: int) -> tuple[np.ndarray, np.ndarray]:
    opened = _run(run_id, folder, stamp)
    table = opened.coordinates(projection=map_name, site=site, head=head)
    axes = [axis for axis in ("x", "y", "z") if axis in table]
    table = table.sort_values(["input_id", "position"], kind="stable")
    both = [table.loc[table["kind"] == kind, axes].to_numpy(dtype=np.float32) for kind in (QUERY, KEY)]
    return tuple(frozen(whole.rows(opened, site, kind, each)) for kind, each in zip((QUERY, KEY), both))


def projection(run_id: str, map_name: str) -> dict:
    """What is known of a map: method, target, dims, seed, parameters."""
    table = run(run_id).projections()
    return table.loc[table["name"] == map_name].iloc[0].to_dict()


def head_parameters(run_id: str, map_name: str, site: str, head: int) -> dict:
    """What made the map of one head, but for arrays; empty where the run does not say."""
    return _head_parameters(run_id, str(runs_dir()), stamp(run_id), map_name).get((site, head), {})


@st.cache_data(max_entries=8, show_spinner=False)
def _head_parameters(run_id: str, folder: str, stamp: str, map_name: str) -> dict[tuple[str, int], dict]:
    opened = _run(run_id, folder, stamp)
    labels = {site.key: site.label for site in opened.sites}
    rows = opened.head_parameters(map_name).itertuples()
    return {(labels[row.site], row.head): row.parameters for row in rows if row.site in labels}


def heads(run_id: str, map_name: str | None) -> pd.DataFrame:
    """All heads of the run, as `app.charts.head_table.head_table` makes them."""
    return _heads(run_id, str(runs_dir()), stamp(run_id), map_name or "")


@st.cache_data(max_entries=8, show_spinner=False)
def _heads(run_id: str, folder: str, stamp: str, map_name: str) -> pd.DataFrame:
    opened = _run(run_id, folder, stamp)
    figures = opened.fidelity(map_name) if map_name else pd.DataFrame()
    return head_table(opened.sites, opened.head_scores(), figures)


def sprite(run_id: str, map_name: str, stack: str) -> bytes:
    """The thumbnails of a stack as one PNG; empty where the run has none for this map."""
    return _sprite(run_id, str(runs_dir()), stamp(run_id), map_name, stack)


@st.cache_data(max_entries=16, show_spinner=False)
def _sprite(run_id: str, folder: str, stamp: str, map_name: str, stack: str) -> bytes:
    try:
        return _run(run_id, folder, stamp).thumbnail(map_name, stack)
    except UnknownName:
        return b""


@st.cache_data(max_entries=1, show_spinner=False)
def metrics() -> dict[str, dict[str, str]]:
    """`app.charts.head_measures.measure_words`."""
    return measure_words()


@st.cache_data(max_entries=1, show_spinner=False)
def methods() -> dict[str, dict[str, Any]]:
    """What can be chosen of each method of making a map."""
    from analysis.projection import PROJECTIONS

    return {
        name: {
            "dims": method.dims,
            "says": method.description,
            "is_concurrent": method.concurrent,
            "has_targets": not method.neighbours_only,
            "aligns": method.can_be_aligned,
        }
        for name, method in PROJECTIONS.items()
    }


def input_texts(run_id: str) -> dict[int, str]:
    """The texts of a run by input id, that of the decoder behind that of the encoder; of sounds what their frames are
    called; empty for pictures."""
    return _read(run_id, str(runs_dir()), stamp(run_id))[1]


def image(run_id: str, input_id: int) -> bytes:
    """The picture a model saw, as PNG."""
    return _image(run_id, str(runs_dir()), stamp(run_id), input_id)


@st.cache_data(max_entries=64, show_spinner=False)
def _image(run_id: str, folder: str, stamp: str, input_id: int) -> bytes:
    return _run(run_id, folder, stamp).image(input_id)

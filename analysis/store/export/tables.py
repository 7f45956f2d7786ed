"""Every table of a run as a data frame, by the name its file has in an export."""

from __future__ import annotations

import pandas as pd

from analysis.store.run import Run


def tables_of(run: Run) -> dict[str, pd.DataFrame]:
    """The tables that have rows."""
    projections = run.projections()
    tables = {
        "sites": _sites(run),
        "inputs": run.inputs(),
        "tokens": run.tokens(),
        "head_scores": run.head_scores(),
        "head_input_scores": run.head_input_scores(),
        "head_profiles": run.head_profiles(),
        "head_places": run.head_places(),
        "token_scores": run.token_scores(),
        "sinks": run.sinks(),
        "sink_cuts": run.sink_cuts(),
        "projections": projections,
        "fidelity": run.fidelity(),
        "coordinates": pd.concat(
            [run.coordinates(projection=name) for name in projections["projection_id"]] or [pd.DataFrame()]
        ),
    }
    return {name: frame for name, frame in tables.items() if len(frame)}


def _sites(run: Run) -> pd.DataFrame:
    sites = pd.DataFrame([{"site": site.index, **site.as_dict()} for site in run.sites]).drop(columns=["index", "band"])
    bands = [(site.band.left, site.band.right) if site.band else (None, None) for site in run.sites]
    sites["has_band"] = [site.band is not None for site in run.sites]
    sites[["band_left", "band_right"]] = pd.DataFrame(bands, dtype="Int64")
    return sites

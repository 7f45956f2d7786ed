"""How exactly a run was captured, as tables: its certificate in, frames out. In words: `analysis.provenance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_SITE_COLUMNS = {
    "label": "attention site",
    "route": "reached by",
    "attention_max_abs_diff": "from the model's own",
    "between_implementations_max_abs_diff": "from a pass in eager mode",
    "values_max_abs_diff": "weights times values",
    "recomputed_max_abs_diff": "from stored q and k",
}

_ROUTES = {"interface": "interface", "optrace": "tracing"}


def left_out(certificate: Mapping[str, Any]) -> pd.DataFrame:
    """Sites that are not in the run and why: columns attention site, reason."""
    missing = certificate.get("left_out") or {}
    labels = {key: site.get("label") or key for key, site in (certificate.get("sites") or {}).items()}
    return pd.DataFrame(
        [(labels.get(key, key), str(reason)) for key, reason in missing.items()], columns=["attention site", "reason"]
    )


def certificate_table(certificate: Mapping[str, Any]) -> pd.DataFrame:
    """The largest difference of each check, one row a captured site; empty where the run has no figures by site."""
    missing = certificate.get("left_out") or {}
    rows = [
        {
            "label": key,
            **{name: site[name] for name in _SITE_COLUMNS if name in site},
            "route": _ROUTES.get(site.get("route")),
        }
        for key, site in (certificate.get("sites") or {}).items()
        if key not in missing
    ]
    told = [name for name in _SITE_COLUMNS if name != "route" or any(row["route"] for row in rows)]
    return pd.DataFrame(rows, columns=told).rename(columns=_SITE_COLUMNS)

"""The list of runs in a folder, whatever state they are in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import RunError, printable
from analysis.store.paths import MANIFEST, PARTIAL, SPEC_FILE, check_name
from analysis.store.paths import runs_dir as default_runs_dir
from analysis.store.publish import check_files, read_manifest
from analysis.store.schema import NewerFormat, check_format

COLUMNS = "run_id model data modality n_inputs n_tokens n_sites n_heads created status".split()
_COUNTS = [name for name in COLUMNS if name.startswith("n_")]


def list_runs(runs_dir: str | Path | None = None) -> pd.DataFrame:
    """The runs of a folder, newest first. Never raises on what it finds there.

    Returns:
        run_id, model, data, modality, n_inputs, n_tokens, n_sites, n_heads, created, and status: ``complete``,
        ``partial`` (unfinished: the same command goes on with it), ``damaged: <why>`` or ``newer: <why>``.
    """
    folder = default_runs_dir() if runs_dir is None else Path(runs_dir)
    try:
        entries = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        entries = []
    frame = pd.DataFrame([_describe(entry) for entry in entries], columns=COLUMNS)
    for name in COLUMNS:
        frame[name] = frame[name].astype("Int64" if name in _COUNTS else "str")
    return frame.sort_values(["created", "run_id"], ascending=[False, True], ignore_index=True, na_position="first")


def _describe(path: Path) -> dict[str, Any]:
    try:
        run_id = check_name(path.name.removesuffix(PARTIAL))
    except RunError as error:
        return {**_fields({}), "run_id": printable(path.name), "status": f"damaged: {error}"}
    if path.name.endswith(PARTIAL):
        return {**_fields(_spec(path)), "run_id": run_id, "status": "partial"}
    try:
        manifest = read_manifest(path / MANIFEST)
        status = "complete"
        try:
            check_format(manifest.get("format"))
            check_files(path, manifest)
        except NewerFormat as error:
            status = f"newer: {error}"
        except RunError as error:
            status = f"damaged: {error}"
    except RunError as error:
        manifest, status = {}, f"damaged: {error}"
    return {**_fields(manifest), "run_id": path.name, "status": status}


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in COLUMNS:
        value = found.get(name)
        if name in _COUNTS:
            out[name] = value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None
        else:
            out[name] = None if value is None else printable(value if isinstance(value, str) else str(value)[:200])
    return out


def _spec(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / SPEC_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

"""The order of the calls: load, encode, capture, store, score, project, publish. No maths and no SQL of its own."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import __version__
from analysis.errors import RunError, UserError
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.models import LoadedModel
    from analysis.store import Run, RunWriter


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked before anything slow starts."""

    model: str
    data: str
    limit: int | None
    layers: frozenset[int] | None
    attention: str
    projection: tuple[str, ...]
    seed: int
    run_id: str | None


def extract(
    *,
    model: str | Path,
    data: str | Path,
    out_dir: str | Path | None = None,
    limit: int | None = None,
    layers: str | None = None,
    attention: str = "auto",
    projection: Sequence[str] = ("atlas",),
    seed: int = 0,
    engine: str = "local",
    run_id: str | None = None,
    report: Report = silent,
) -> Run:
    """Run a model over data and make a run; go on with it where an earlier call was stopped.

    Args:
        model: Hub id, local folder, or the name of a bundled model.
        data: A file or folder of texts or images, or the name of bundled data.
        out_dir: Folder of the runs; by default ``QK_ATLAS_RUNS`` or ``data/runs``.
        limit: Only the first inputs.
        layers: Only these layers of each stack, as in ``"0-3,11"``.
        attention: ``auto``, ``store`` or ``recompute``: whether attention is kept on disk.
        projection: Names of joint maps to make.
        seed: Of maps and intervals.
        engine: Where the work runs; ``local`` is this process.
        run_id: Name of the run. By default it is made from model, data and settings, so that the same call finds
            its own unfinished run again. A finished run of the same name and settings is opened as it is.
        report: Told how far the work has come.

    Returns:
        The finished run, open for reading.

    Raises:
        UserError: Something about the request, the model or the data; the message says what to do.
    """
    from analysis.store import RunWriter, open_run, runs_dir

    request = _checked(model, data, limit, layers, attention, projection, seed, engine, run_id)
    folder = Path(out_dir) if out_dir else runs_dir()
    prepared = _prepare(request, report)
    finished = _finished(folder, prepared)
    if finished is not None:
        return finished
    with RunWriter.open(folder, prepared.run_id, prepared.spec) as writer:
        plan = _plan(writer, prepared)
        _capture(writer, prepared, plan, report)
        _score_heads(writer, seed)
        for name in request.projection:
            _make_map(writer, name, report=report, seed=seed)
        report(Progress("publish", message="Writing the manifest", run_id=prepared.run_id))
        path = writer.publish(_manifest(prepared, plan))
    report(Progress("done", 1, 1, message="Done", run_id=prepared.run_id))
    return open_run(path)


def plan_extraction(**request: Any) -> ExtractionPlan:
    """What `extract` with the same arguments would do: sites, routes, tokens, time, memory and disk.

    Loads the model and runs its longest input, twice; writes nothing.
    """
    checked = _checked(**request)
    prepared = _prepare(checked, silent)
    plan = _new_plan(prepared)
    return _estimate(prepared, plan)


def project(
    run: str | Path,
    *,
    method: str,
    dims: int = 2,
    target: str = "attention",
    seed: int = 0,
    runs_dir: str | Path | None = None,
    report: Report = silent,
) -> str:
    """Add a joint map to a finished run, as an add-on file of its own.

    Args:
        run: Id of the run or its folder.
        method: A name in `PROJECTIONS`.
        dims: 2 or 3.
        target: ``attention``, or ``without_sinks`` for attention without sinks and special tokens.
        seed: Of the method.
        runs_dir: Folder of the runs, when `run` is an id.
        report: Told how far the work has come.

    Returns:
        The name of the add-on.

    Raises:
        UserError: Unknown method, unknown run, or a map of these settings is already there.
    """
    from analysis.projection import PROJECTIONS
    from analysis.store import add_to_run, open_run

    PROJECTIONS[method]
    name = "-".join([method, f"{dims}d", *([] if target == "attention" else ["without-sinks"]), f"seed{seed}"])
    with open_run(run, runs_dir) as opened:
        made = opened.projections()
        same = (made["method"] == method) & (made["dims"] == dims) & (made["target"] == target) & (made["seed"] == seed)
        if same.any():
            raise RunError(f"{opened.run_id} already has the map {name}; choose another seed, target or method.")
        with add_to_run(opened.path, name) as addition:
            _make_map(addition, method, source=opened, dims=dims, target=target, seed=seed, report=report)
            addition.publish()
    report(Progress("done", 1, 1, message="Done"))
    return name


def parse_layers(text: str | None) -> frozenset[int] | None:
    """``"0-3,11"`` to the set {0, 1, 2, 3, 11}; None stays None (all layers)."""
    if text is None:
        return None
    layers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UserError(f"--layers expects numbers and ranges such as 0-3,11; got {text!r}.")
        layers |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(layers)

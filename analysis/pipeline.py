"""The order of the calls: load, encode, capture, store, score, project, publish. No maths and no SQL of its own."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import __version__
from analysis.errors import RunError, UserError
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.models import LoadedModel
    from analysis.projection.problem import HeadProblem
    from analysis.store import AddonWriter, Run, RunWriter
    from analysis.store.plan_tables import StoredPlan
    from analysis.store.reading import Reader
    from analysis.types import Site


THUMBNAIL_PX = 80
"""Width of a head's thumbnail."""


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


@dataclass(frozen=True)
class Prepared:
    """A request with its model and data loaded.

    Attributes:
        spec: Everything that decides what the run holds, as plain values; the same spec is the same run.
        run_id: As asked for, or made from the spec.
    """

    request: Request
    loaded: LoadedModel
    inputs: Inputs
    spec: dict[str, Any]
    run_id: str


@dataclass(frozen=True)
class ExtractionPlan:
    """What an extraction would do and cost.

    Attributes:
        capture: Sites, routes and the parity certificate of the longest input.
        n_inputs: Inputs of the run.
        n_tokens: Tokens of the run.
        longest_tokens: Tokens of its longest input.
        seconds: Estimated time of the capture, from the longest input, maps apart.
        memory_bytes: Estimated peak above the model and the data: attention of one batch.
        disk_bytes: q, k and stored attention of the run.
        notes: What was skipped or cut.
    """

    run_id: str
    capture: dict[str, Any]
    n_inputs: int
    n_tokens: int
    longest_tokens: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the sites and figures, without the arrays of the capture plan."""
        values = asdict(self)
        values["capture"] = {name: self.capture[name] for name in ("sites", "certificate")}
        return values

    def as_text(self) -> str:
        """The plan for a person."""
        certificate = self.capture["certificate"]
        lines = [
            f"Run {self.run_id}: {self.n_inputs:,} inputs, {self.n_tokens:,} tokens, longest {self.longest_tokens:,}."
        ]
        stacks: dict[str, list[dict]] = {}
        for site in self.capture["sites"]:
            stacks.setdefault(f"{site['modality']}.{site['stack']}.{site['role']}", []).append(site)
        for stack, sites in stacks.items():
            routes = ", ".join(sorted({site["route"] for site in sites}))
            heads = sum(site["n_heads"] for site in sites)
            lines.append(f"  {stack}: {len(sites)} layers, {heads} heads, reached by {routes}")
        lines += [f"  left out: {key}: {reason}" for key, reason in certificate["left_out"].items()]
        lines.append(
            f"Largest difference to the model: outputs {certificate['outputs_max_abs_diff']:.1e}, "
            f"attention {certificate['attention_max_abs_diff']:.1e}, "
            f"attention from stored q and k {certificate['recomputed_max_abs_diff']:.1e}."
        )
        lines.append(
            f"About {_duration(self.seconds)} to capture (maps apart), {_size(self.memory_bytes)} of memory above the "
            f"model, {_size(self.disk_bytes)} of disk."
        )
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


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
    from analysis.store.paths import partial_path

    request = _checked(model, data, limit, layers, attention, projection, seed, engine, run_id)
    folder = Path(out_dir) if out_dir else runs_dir()
    prepared = _prepare(request, report)
    finished = _finished(folder, prepared)
    if finished is not None:
        return finished
    # A model that is refused must leave nothing behind: the plan of a new run comes before its folder.
    plan = None if partial_path(folder, prepared.run_id).exists() else _new_plan(prepared)
    with RunWriter.open(folder, prepared.run_id, prepared.spec) as writer:
        plan = _settled_plan(writer, prepared, plan)
        _capture(writer, prepared, plan, report)
        _score_heads(writer, seed)
        for name in request.projection:
            _make_map(writer, writer.reader(), name, seed=seed, report=report)
        report(Progress("publish", message="Writing the manifest", run_id=prepared.run_id))
        path = writer.publish(_manifest(prepared, plan))
    report(Progress("done", run_id=prepared.run_id))
    return open_run(path)


def plan_extraction(*, out_dir: str | Path | None = None, **request: Any) -> ExtractionPlan:
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
            _make_map(addition, opened, method, dims=dims, target=target, seed=seed, report=report)
            addition.publish()
    report(Progress("done"))
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


def verify(run: str | Path, runs_dir: str | Path | None = None) -> str:
    """Check every byte of a run against its manifest; the answer as one sentence.

    Raises:
        RunError: Something is damaged or missing, named.
    """
    from analysis.store import locate
    from analysis.store import verify as verify_files

    found = verify_files(locate(run, None if runs_dir is None else Path(runs_dir)))
    if not found.ok:
        raise RunError(str(found))
    return str(found)


def _checked(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    layers: str | None = None,
    attention: str = "auto",
    projection: Sequence[str] = ("atlas",),
    seed: int = 0,
    engine: str = "local",
    run_id: str | None = None,
) -> Request:
    from analysis.projection import PROJECTIONS

    if engine != "local":
        raise UserError(f"The engine {engine!r} is not available yet; use --engine local.")
    if attention not in ("auto", "store", "recompute"):
        raise UserError(f"Attention can be kept as auto, store or recompute; got {attention!r}.")
    names = tuple(dict.fromkeys(name for name in projection if name != "none"))
    for name in names:
        PROJECTIONS[name]
    return Request(str(model), str(data), limit, parse_layers(layers), attention, names, seed, run_id)


def _prepare(request: Request, report: Report) -> Prepared:
    from analysis.inputs import encode, read_data
    from analysis.models import load_model

    report(Progress("load", message=f"Reading {request.data}"))
    raw = read_data(request.data, limit=request.limit)
    report(Progress("load", message=f"Loading {request.model}"))
    loaded = load_model(request.model, modality=raw.modality)
    report(Progress("encode", message=f"Encoding {len(raw):,} inputs"))
    inputs = encode(raw, loaded)
    spec = {
        "model": loaded.name,
        "model_revision": loaded.revision,
        "dtype": loaded.dtype,
        "data": inputs.data_name,
        "data_hash": inputs.data_hash,
        "limit": request.limit,
        "layers": None if request.layers is None else sorted(request.layers),
        "attention": request.attention,
        "projection": list(request.projection),
        "seed": request.seed,
        "code_version": __version__,
    }
    return Prepared(request, loaded, inputs, spec, request.run_id or _run_id(spec))


def _run_id(spec: dict[str, Any]) -> str:
    names = (re.sub(r"[^a-z0-9]+", "-", Path(spec[part]).stem.lower()).strip("-")[:30] for part in ("model", "data"))
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    return "-".join([*(name for name in names if name), digest])


def _finished(folder: Path, prepared: Prepared) -> Run | None:
    from analysis.store import open_run

    if not (folder / prepared.run_id / "manifest.json").exists():
        return None
    run = open_run(folder / prepared.run_id)
    if run.manifest.get("spec") == prepared.spec:
        return run
    run.close()
    raise RunError(
        f"There is already a run {prepared.run_id!r} with another model, other data or other settings, and runs are "
        "never changed: choose another --run-id."
    )


def _new_plan(prepared: Prepared) -> CapturePlan:
    from analysis.capture import make_plan

    longest = int(np.argmax(prepared.inputs.inputs["n_tokens"].to_numpy()))
    plan = make_plan(prepared.loaded, prepared.inputs.tensors(longest))
    return plan if prepared.request.layers is None else plan.keep(set(prepared.request.layers))


def _settled_plan(writer: RunWriter, prepared: Prepared, fresh: CapturePlan | None) -> CapturePlan | StoredPlan:
    """The plan of the run: the stored one where an earlier call made it, so that all its keys share one offset."""
    stored = writer.plan()
    if stored is None:
        stored = fresh or _new_plan(prepared)
        writer.put_plan(stored.sites, stored.key_offsets, stored.sink_logits, stored.certificate)
    inputs = prepared.inputs
    writer.put_inputs(inputs.inputs, inputs.tokens, inputs.token_columns)
    return stored


def _capture(writer: RunWriter, prepared: Prepared, plan: CapturePlan, report: Report) -> None:
    from analysis.engines.local import capture_into
    from analysis.metrics import METRICS

    capture_into(
        writer,
        prepared.loaded,
        plan,
        prepared.inputs,
        attention=prepared.request.attention,
        metrics=list(METRICS),
        report=report,
    )


def _score_heads(writer: RunWriter, seed: int) -> None:
    """From the scores of every input to one value, interval and null per head."""
    from analysis.metrics.over_inputs import over_inputs

    writer.put_head_scores(over_inputs(writer.reader().head_input_scores(), seed=seed))


def _make_map(
    writer: RunWriter | AddonWriter,
    reader: Reader,
    method: str,
    *,
    dims: int = 2,
    target: str = "attention",
    seed: int = 0,
    report: Report = silent,
) -> str:
    """Lay out every self-attention head of a run, with its fidelity, and draw the thumbnails of every stack."""
    from analysis.projection.fit import fit_heads

    sites = [site for site in reader.sites if site.role == "self"]
    projection_id = writer.put_projection("", method, target, dims, seed, _parameters(method))
    done = writer.done_heads(projection_id)
    heads = [(site, head) for site in sites for head in range(site.n_heads)]
    is_special = reader.tokens()["is_special"].to_numpy(dtype=bool)
    waiting = [
        (site.key, head, partial(_head_problem, reader, site, head, is_special))
        for site, head in heads
        if (site.key, head) not in done
    ]
    n_done = len(done)
    report(Progress("project", n_done, len(heads), "heads", message=f"Making the map {projection_id}"))
    for key, head, layout, fidelity in fit_heads(waiting, method, dims=dims, seed=seed, target=target):
        # Coordinates last: a head that has them is done.
        writer.put_fidelity(projection_id, key, head, fidelity)
        writer.put_coordinates(projection_id, key, head, layout.queries, layout.keys)
        n_done += 1
        report(Progress("project", n_done, len(heads), "heads"))
    _draw_thumbnails(writer, projection_id, sites)
    return projection_id


def _parameters(method: str) -> dict[str, Any]:
    """What the method runs with: its own defaults, and the version of the code."""
    from analysis.projection import PROJECTIONS

    arguments = inspect.signature(PROJECTIONS[method].function).parameters.values()
    defaults = {a.name: a.default for a in arguments if isinstance(a.default, int | float | str | bool)}
    return {**defaults, "code_version": __version__}


def _head_problem(reader: Reader, site: Site, head: int, is_special: np.ndarray) -> HeadProblem:
    from analysis.projection.problem import HeadProblem

    lengths = reader.inputs()["n_tokens"].to_numpy()
    return HeadProblem(
        queries=reader.queries(site, head),
        keys=reader.keys(site, head),
        scale=site.scale,
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        attention=reader.attention_by_input(site, head),
        allowed=reader.allowed_by_input(site),
        is_special=is_special,
    )


def _draw_thumbnails(writer: RunWriter | AddonWriter, projection_id: str, sites: Sequence[Site]) -> None:
    from analysis.projection.problem import Layout
    from analysis.projection.thumbnails import sprite

    for stack in dict.fromkeys(site.stack_label for site in sites):
        layouts = {}
        for site in (site for site in sites if site.stack_label == stack):
            for head in range(site.n_heads):
                layouts[site.depth, head] = Layout(*writer.layout(projection_id, site.key, head))
        writer.put_thumbnail(projection_id, stack, sprite(layouts, THUMBNAIL_PX), THUMBNAIL_PX)


def _estimate(prepared: Prepared, plan: CapturePlan) -> ExtractionPlan:
    from analysis.capture import run_batch
    from analysis.engines.local import attention_bytes, batches

    inputs, sites = prepared.inputs, plan.sites
    n_heads = sum(site.n_heads for site in sites)
    held = [
        len(batch) * attention_bytes(inputs.n_tokens(batch[0]), n_heads)
        for batch in batches(range(len(inputs)), inputs.n_tokens, n_heads)
    ]
    lengths = inputs.inputs["n_tokens"].to_numpy()
    longest = int(np.argmax(lengths))
    for _ in range(2):  # the first pass also warms up
        began = time.perf_counter()
        run_batch(prepared.loaded, plan, [(longest, inputs.tensors(longest))], want_attention=True)
    seconds = (time.perf_counter() - began) * lengths.sum() / lengths[longest]
    per_token = sum(2 * site.d_head * (site.n_heads + site.n_kv_heads) + 2 * site.n_kv_heads for site in sites)
    stored = sum(_stored_cells(site, lengths, prepared.request.attention) for site in sites)
    return ExtractionPlan(
        run_id=prepared.run_id,
        capture=plan.as_dict(),
        n_inputs=len(inputs),
        n_tokens=int(lengths.sum()),
        longest_tokens=int(lengths[longest]),
        seconds=float(seconds),
        memory_bytes=max(held),
        disk_bytes=int(lengths.sum() * per_token + 2 * stored),
        notes=_notes(inputs),
    )


def _stored_cells(site: Site, lengths: np.ndarray, mode: str) -> int:
    """Cells of attention kept on disk; as `analysis.engines.local.stores_attention` decides."""
    lengths = lengths.astype(np.int64)
    causal = site.band is not None and site.band.is_causal
    cells = site.n_heads * (lengths * (lengths + 1) // 2 if causal else lengths**2)
    if mode == "auto" and site.recomputable:
        cells = cells[cells <= lengths * site.d_head * (site.n_heads + site.n_kv_heads)]
    elif mode == "recompute" and site.recomputable:
        return 0
    return int(cells.sum())


def _notes(inputs: Inputs) -> list[str]:
    """What the user should know of the data: left out, cut."""
    notes = list(inputs.notes)
    if inputs.skipped:
        named = "; ".join(f"{name}: {reason}" for name, reason in inputs.skipped[:5])
        more = f" and {len(inputs.skipped) - 5} more" if len(inputs.skipped) > 5 else ""
        notes.append(f"{len(inputs.skipped)} left out ({named}{more}).")
    if inputs.n_cut_inputs:
        tokens = int(inputs.inputs["n_cut"].sum())
        notes.append(f"{inputs.n_cut_inputs} inputs were longer than the model's limit: {tokens:,} tokens cut.")
    return notes


def _manifest(prepared: Prepared, plan: CapturePlan) -> dict[str, Any]:
    loaded, inputs = prepared.loaded, prepared.inputs
    return {
        "spec": prepared.spec,
        "model": loaded.name,
        "model_type": loaded.model_type,
        "model_revision": loaded.revision,
        "n_parameters": loaded.n_parameters,
        "dtype": loaded.dtype,
        "device": loaded.device,
        "data": inputs.data_name,
        "data_hash": inputs.data_hash,
        "modality": inputs.modality,
        "n_inputs": len(inputs),
        "n_tokens": int(inputs.inputs["n_tokens"].sum()),
        "n_sites": len(plan.sites),
        "n_heads": sum(site.n_heads for site in plan.sites),
        "skipped": [list(entry) for entry in inputs.skipped],
        "notes": _notes(inputs),
        "certificate": plan.certificate,
        "code_version": __version__,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "numpy", "duckdb", "umap-learn", "scikit-learn")}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"

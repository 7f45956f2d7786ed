"""An extraction from model and data to a published run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import __version__
from analysis.errors import InputError, RunError
from analysis.pipeline.head_scores import score_heads
from analysis.pipeline.maps import make_map
from analysis.pipeline.request import Request, checked
from analysis.pipeline.samples import MapsOfSample
from analysis.pipeline.sinks import measure_sinks, special_tokens
from analysis.progress import Progress, Report, silent
from analysis.types import VISION_AND_TEXT

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.models import LoadedModel
    from analysis.store import Run, RunWriter
    from analysis.store.plan_tables import StoredPlan


@dataclass(frozen=True)
class Prepared:
    """A request with its model and data loaded.

    Attributes:
        spec: Everything that decides what the run holds, as plain values; the same spec is the same run.
        run_id: As asked for, or made from the spec.
        model: How the model was loaded, as `analysis.models.load_model` takes it, for whoever loads it again.
    """

    request: Request
    loaded: LoadedModel
    inputs: Inputs
    spec: dict[str, Any]
    run_id: str
    model: dict[str, Any]


def extract(
    *,
    model: str | Path,
    data: str | Path,
    out_dir: str | Path | None = None,
    limit: int | None = None,
    layers: str | None = None,
    attention: str = "auto",
    states: str = "auto",
    projection: Sequence[str] = ("atlas",),
    seed: int = 0,
    engine: str = "local",
    run_id: str | None = None,
    part: str = "whole",
    target: str = "auto",
    generate: int = 0,
    dtype: str = "float32",
    load_in: str | None = None,
    device_map: str | Path | Mapping[str, str | int] | None = None,
    chat: str = "off",
    workers: int | None = None,
    shards: str | Path | None = None,
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
        states: ``on``, ``off`` or ``auto``: whether the residual state of every token is measured, which the levels of
            sinks are made of; ``auto`` where it is cheap, see `analysis.engines.local.measures_states`.
        projection: Joint maps to make, each by method or by name: ``"atlas"``, ``"umap-3d"``,
            ``"atlas-2d-without-sinks-aligned"``; see `analysis.projection.naming.MapKind.parse`.
        seed: Of maps and intervals.
        engine: Where the model runs over the data: ``local`` is this process, ``ray`` a pool of workers, on the cluster
            that ``RAY_ADDRESS`` names or on this machine; the run is the same.
        run_id: Name of the run. By default it is made from model, data and settings, so that the same call finds
            its own unfinished run again. A finished run of the same name and settings is opened as it is.
        part: ``whole``, or ``encoder`` for that of an encoder-decoder alone.
        target: What the decoder of an encoder-decoder reads: ``auto`` (the column ``target`` of the data; where it has
            none, what the model itself writes; where the model has no head that writes, the input text), ``generate``
            (what the model writes in any case) or ``same`` (the input text).
        generate: Let a decoder go on with every text for so many tokens at most, always the likeliest; the whole is
            captured in one pass, and the column ``written`` tells which tokens are its own.
        dtype: Numbers that the model runs in: ``float32``, ``float16`` or ``bfloat16``.
        load_in: ``8bit``: the weights of its linear layers in 8 bits, where bitsandbytes is installed.
        device_map: Spreads a model that is too large for one device: ``auto``, a JSON file, or the map itself.
        chat: ``auto``: texts are turns of a chat where the model has a template for it, with the columns ``system`` and
            ``target`` (the answer) before and behind them; ``off``: they are plain texts.
        workers: Of the engine ``ray``: how many copies of the model run at once; one a GPU, without GPUs one a core.
        shards: Of the engine ``ray``: a folder or an address (``s3://bucket/folder``) that workers and this process
            reach, for what is captured and not merged yet; by default within the unfinished run.
        report: Told how far the work has come.

    Returns:
        The finished run, open for reading.

    Raises:
        UserError: Something about the request, the model or the data; the message says what to do.
    """
    from analysis.pipeline.estimate import disk_bytes
    from analysis.projection.naming import MapKind
    from analysis.store import RunWriter, open_run, runs_dir
    from analysis.store.paths import partial_path
    from analysis.store.room import check_room

    request = checked(
        model, data, limit, layers, attention, projection, seed, engine, run_id, states, part, target, generate,
        dtype, load_in, device_map, chat, workers, None if shards is None else str(shards),
    )  # fmt: skip
    folder = Path(out_dir) if out_dir else runs_dir()
    prepared = _with_free_id(prepare(request, report), folder)
    finished = _finished(folder, prepared)
    if finished is not None:
        return finished
    # A model that is refused must leave nothing behind: the plan of a new run comes before its folder.
    plan = None if partial_path(folder, prepared.run_id).exists() else new_plan(prepared)
    if plan is not None:
        check_room(folder, disk_bytes(prepared, plan.sites), f"Run {prepared.run_id!r}")
    with RunWriter.open(folder, prepared.run_id, prepared.spec) as writer:
        plan = _settled_plan(writer, prepared, plan)
        writer.expect(disk_bytes(prepared, plan.sites))
        maps = MapsOfSample(plan, prepared.inputs, seed)
        ran_on = _capture(writer, prepared, plan, maps, report)
        score_heads(writer, prepared.loaded, plan, prepared.inputs, seed=seed, maps=maps, report=report)
        measure_sinks(writer, special_tokens(prepared.loaded.processor), seed=seed, report=report)
        for name in request.projection if any(site.has_vectors for site in plan.sites) else ():
            make_map(writer, writer.reader(), MapKind.parse(name), seed=seed, report=report)
        report(Progress("publish", message="Writing the manifest", run_id=prepared.run_id))
        path = writer.publish(_manifest(prepared, plan, ran_on))
    report(Progress("done", run_id=prepared.run_id))
    return open_run(path)


def prepare(request: Request, report: Report) -> Prepared:
    """Load the data and the model, encode the one for the other, and name the run.

    Raises:
        UserError: The data or the model cannot be read; the message says what to do.
    """
    from analysis.capture import patch_order
    from analysis.inputs import encode, read_data
    from analysis.models import load_model, read_device_map

    report(Progress("load", message=f"Reading {request.data}"))
    raw = read_data(request.data, limit=request.limit)
    report(Progress("load", message=f"Loading {request.model}"))
    model = {
        "name": request.model,
        "modality": raw.modality if raw.texts is None else VISION_AND_TEXT,
        "part": request.part,
        "writes": request.generate > 0,
        **request.loading,
    }
    loaded = load_model(**model)
    if raw.texts is not None and loaded.modality == "text":
        raw = read_data(request.data, limit=request.limit, modality="text")
        raw.notes.append(f"{loaded.name} reads texts only: the images of the data are left out.")
    if request.generate and (loaded.sequences or loaded.modality != "text"):
        raise InputError(f"{loaded.name} is no decoder of texts, which alone goes on with one: leave --generate out.")
    if request.part == "encoder" and loaded.part != "encoder":
        raise InputError(f"{loaded.name} is no encoder-decoder: leave --part encoder out.")
    report(Progress("encode", message=f"Encoding {len(raw):,} inputs"))

    def wrote(done: int) -> None:
        report(Progress("encode", done, len(raw), "inputs", message="The model writes"))

    order = partial(patch_order, loaded) if loaded.modality == VISION_AND_TEXT else None
    inputs = encode(
        raw, loaded, target=request.target, generate=request.generate, wrote=wrote, order=order, chat=request.chat
    )
    spec = {
        "model": loaded.name,
        "model_revision": loaded.revision,
        "dtype": loaded.dtype,
        "data": inputs.data_name,
        "data_hash": inputs.data_hash,
        "limit": request.limit,
        "layers": None if request.layers is None else sorted(request.layers),
        "attention": request.attention,
        "states": request.states,
        "projection": list(request.projection),
        "seed": request.seed,
        "code_version": __version__,
    }
    if request.part != "whole":
        spec["part"] = request.part
    if inputs.target:
        spec["target"] = request.target
    if request.generate:
        spec["generate"] = request.generate
    if request.chat != "off":
        spec["chat"] = request.chat
    if request.load_in:
        spec["load_in"] = request.load_in
    if placed := read_device_map(request.device_map):
        spec["device_map"] = placed
    return Prepared(request, loaded, inputs, spec, request.run_id or _run_id(spec), model)


def _run_id(spec: dict[str, Any]) -> str:
    names = (re.sub(r"[^a-z0-9]+", "-", Path(spec[part]).stem.lower()).strip("-")[:30] for part in ("model", "data"))
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    return "-".join([*(name for name in names if name), digest])


def _with_free_id(prepared: Prepared, folder: Path) -> Prepared:
    """An id made from the spec goes on to ``-2``, ``-3`` ... where a run that had it is deleted."""
    from analysis.store.paths import retired

    taken = () if prepared.request.run_id else retired(folder)
    names = (prepared.run_id, *(f"{prepared.run_id}-{number}" for number in range(2, len(taken) + 2)))
    return replace(prepared, run_id=next(name for name in names if name not in taken))


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


def new_plan(prepared: Prepared) -> CapturePlan:
    """A capture plan from a dry run on the longest input, where sliding windows show.

    Raises:
        CaptureRefused: The model's attention cannot be reached; with what was tried.
    """
    from analysis.capture import make_plan

    longest = int(np.argmax(prepared.inputs.inputs["n_tokens"].to_numpy()))
    names = [sequence.name for sequence in prepared.loaded.sequences]
    lengths = {name: int(prepared.inputs.lengths(name)[longest]) for name in names}
    plan = make_plan(prepared.loaded, prepared.inputs.tensors(longest), lengths)
    return plan if prepared.request.layers is None else plan.keep(set(prepared.request.layers))


def _settled_plan(writer: RunWriter, prepared: Prepared, fresh: CapturePlan | None) -> CapturePlan | StoredPlan:
    """The plan of the run: the stored one where an earlier call made it, so that all its keys share one offset."""
    stored = writer.plan()
    if stored is None:
        stored = fresh or new_plan(prepared)
        writer.put_plan(stored.sites, stored.key_offsets, stored.sink_logits, stored.certificate)
    inputs = prepared.inputs
    writer.put_inputs(inputs.inputs, inputs.tokens, inputs.token_columns)
    return stored


def _capture(
    writer: RunWriter, prepared: Prepared, plan: StoredPlan, maps: MapsOfSample, report: Report
) -> dict[str, Any]:
    """Capture what the run does not hold yet, where the request says.

    Returns:
        What the manifest says of where it ran.
    """
    from analysis.engines.local import capture_into, measures_states
    from analysis.metrics import metric_names
    from analysis.pipeline.token_facts import token_facts

    request, loaded, inputs = prepared.request, prepared.loaded, prepared.inputs
    states = measures_states(plan.sites, request.states)
    facts = token_facts(inputs, loaded.processor)
    here = " and ".join(loaded.devices)
    if request.engine == "local":
        capture_into(
            writer, loaded, plan, inputs, attention=request.attention, metrics=metric_names(), facts=facts,
            watch=maps.take, states=states, report=report,
        )  # fmt: skip
        return {"device": here}
    from analysis.engines import ray
    from analysis.engines.work import Wanted

    devices = ray.capture_into(
        writer, loaded, plan, inputs, model=_reached_from_anywhere(prepared),
        wanted=Wanted(request.attention, tuple(metric_names()), facts, states), sample=maps.sample, take=maps.put,
        asked=ray.Asked(request.workers, request.shards), report=report,
    )  # fmt: skip
    return {"device": " and ".join(devices) or here, "engine": request.engine}


def _reached_from_anywhere(prepared: Prepared) -> dict[str, Any]:
    """How a process with another working folder loads the same model: a folder by its whole path, one of the hub by
    its commit."""
    from analysis.models import BUNDLED_MODELS

    name = prepared.model["name"]
    if name in BUNDLED_MODELS:
        return prepared.model
    if prepared.loaded.revision.startswith("sha256:"):
        return {**prepared.model, "name": str(Path(name).expanduser().resolve())}
    return {**prepared.model, "revision": prepared.loaded.revision}


def notes_on(inputs: Inputs) -> list[str]:
    """What the user should know of the data: what was left out, cut or changed."""
    notes = list(inputs.notes)
    if inputs.skipped:
        named = "; ".join(f"{name}: {reason}" for name, reason in inputs.skipped[:5])
        more = f" and {len(inputs.skipped) - 5} more" if len(inputs.skipped) > 5 else ""
        notes.append(f"{len(inputs.skipped)} left out ({named}{more}).")
    if inputs.n_cut_inputs:
        tokens = int(inputs.inputs["n_cut"].sum())
        notes.append(f"{inputs.n_cut_inputs} inputs were longer than the model's limit: {tokens:,} tokens cut.")
    return notes


def _manifest(prepared: Prepared, plan: StoredPlan, ran_on: dict[str, Any]) -> dict[str, Any]:
    loaded, inputs = prepared.loaded, prepared.inputs
    return {
        "spec": prepared.spec,
        "model": loaded.name,
        "model_type": loaded.model_type,
        "model_revision": loaded.revision,
        "n_parameters": loaded.n_parameters,
        "dtype": loaded.dtype,
        **ran_on,
        "data": inputs.data_name,
        "data_hash": inputs.data_hash,
        "modality": inputs.modality,
        "n_inputs": len(inputs),
        "n_tokens": int(inputs.inputs["n_tokens"].sum()),
        "n_sites": len(plan.sites),
        "n_heads": sum(site.n_heads for site in plan.sites),
        "d_model": _width(loaded.module),
        "special_tokens": special_tokens(loaded.processor),
        "skipped": [list(entry) for entry in inputs.skipped],
        "notes": notes_on(inputs),
        **({"decoder_reads": inputs.target} if inputs.target else {}),
        "certificate": plan.certificate,
        "code_version": __version__,
        "versions": _versions(),
    }


def _width(module: Any) -> int | None:
    """Width of the residual state, as the config names it."""
    config = module.config.get_text_config() if hasattr(module.config, "get_text_config") else module.config
    width = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
    return int(width) if isinstance(width, int) else None


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "numpy", "duckdb", "umap-learn", "scikit-learn")}

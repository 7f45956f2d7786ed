"""A text or image that no run holds, through the model of a run: tokens, queries, keys and attention, and its place in
the run's linear maps. Nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int

from analysis.attention import shares_of
from analysis.errors import InputError, ModelError, RunError, UnknownName, UserError, printable

if TYPE_CHECKING:
    from analysis.inputs import ImageSource, Inputs, RawData
    from analysis.models import LoadedModel
    from analysis.store import Run
    from analysis.types import Site, SiteCapture

NEW_INPUT = -1
"""The input id in the tokens of a new input: no input of a run has it."""

MOST_BYTES = 2 * 10**9
"""Attention of all heads is held at once, in fp32: a longer input is refused."""

_WHAT = {"text": "texts", "vision": "images"}


@dataclass(frozen=True)
class NewInput:
    """One text or image as the model of a run sees it.

    Attributes:
        text: The text, None for an image.
        image: PNG of what the model sees, at most 256 pixels a side; None for a text.
        tokens: Its rows as they would stand in the run's token table, with `input_id` `NEW_INPUT`; user columns,
            which nobody gave, are empty, and `frequency` counts the tokens of the run.
        captures: What every site of the run did, by site key; fp32, nothing rounded.
        n_cut: Tokens lost to the model's limit.
        notes: Sentences for the reader: what was cut.
        model: Name and revision of the model.
        target: What its decoder read, where it has one: what the model wrote, or the text itself; `notes` say which.
    """

    text: str | None
    image: bytes | None
    tokens: pd.DataFrame
    captures: Mapping[str, SiteCapture] = field(repr=False)
    n_cut: int
    notes: tuple[str, ...]
    model: tuple[str, str]
    target: str | None = None

    def attention(self, site: Site | str, head: int) -> Float[np.ndarray, "query key"]:
        """Attention of one head after the softmax, the model's own in fp32, as `Run.attention` of a run's input."""
        return self._head(site, head).attention[head]

    def shares(self, site: Site | str, head: int) -> Float[np.ndarray, "query key"]:
        """`attention` as measures take it, as `Run.shares`."""
        return shares_of(self._site(site).site, self.attention(site, head))

    def allowed(self, site: Site | str) -> Bool[np.ndarray, "query key"]:
        """True where the query may attend to the key."""
        return self._site(site).allowed

    def query_positions(self, site: Site | str) -> Int[np.ndarray, " query"]:
        """Positions, within the input, of the tokens that are the rows of a site's attention."""
        return self._positions(self._site(site).site.query_sequence)

    def key_positions(self, site: Site | str) -> Int[np.ndarray, " key"]:
        """Positions, within the input, of the tokens that are the columns of a site's attention."""
        return self._positions(self._site(site).site.key_sequence)

    def _positions(self, sequence: str) -> Int[np.ndarray, " token"]:
        everything = np.arange(len(self.tokens))
        return everything[(self.tokens["sequence"] == sequence).to_numpy()] if sequence else everything

    def queries(self, site: Site | str, head: int) -> Float[np.ndarray, "query d_head"]:
        """Every query of a head."""
        return self._head(site, head).queries[head]

    def keys(self, site: Site | str, head: int) -> Float[np.ndarray, "key d_head"]:
        """Every key that a head reads; heads that share keys give the same."""
        capture = self._head(site, head)
        return capture.keys[capture.site.kv_head(head)]

    def value_norms(self, site: Site | str, head: int) -> Float[np.ndarray, " key"]:
        """The Euclidean norm of every value that a head reads."""
        capture = self._head(site, head)
        return capture.value_norms[capture.site.kv_head(head)]

    def _site(self, site: Site | str) -> SiteCapture:
        for key, capture in self.captures.items():
            if site in (capture.site, key, capture.site.label):
                return capture
        known = ", ".join(capture.site.label for capture in self.captures.values())
        raise UnknownName(f"There is no site {str(site)[:100]!r}; known: {known}.")

    def _head(self, site: Site | str, head: int) -> SiteCapture:
        capture = self._site(site)
        if not 0 <= head < capture.site.n_heads:
            raise UnknownName(
                f"{capture.site.label} has the heads 0 to {capture.site.n_heads - 1}; there is no head {head}."
            )
        return capture


def load_run_model(run: Run, model: str | Path | None = None, *, with_head: bool = False) -> LoadedModel:
    """The model that made a run, loaded again and checked to be the same to the byte.

    Args:
        model: Its folder, for a run made with a model from a folder, of which the run knows only the name. Models of
            the hub and bundled ones are found by what the run has written down.
        with_head: Give a `HeadedModel`, with the head that the weights hold.

    Raises:
        ModelError: It cannot be found or loaded, or it is another one; with what to give.
    """
    from analysis.models import load_model, load_with_head

    manifest = run.manifest
    name, revision = str(manifest.get("model") or ""), str(manifest.get("model_revision") or "")
    if model is None and needs_folder(manifest):
        raise ModelError(
            f"Run {run.run_id} was made with a model from a folder, of which it knows only the name {name!r}: give "
            "that folder."
        )
    chosen = name if model is None else str(model)
    commit = None if revision.startswith("sha256:") or chosen != name else revision
    load = load_with_head if with_head else load_model
    # Runs of one sequence may be of the encoder of a pair.
    part = {} if with_head else {"part": "whole" if len(run.sequences) > 1 else "encoder"}
    spec = manifest.get("spec") or {}
    loaded = load(
        chosen, modality=run.modality, dtype=str(manifest.get("dtype") or "float32"), revision=commit or None,
        load_in=spec.get("load_in"), device_map=spec.get("device_map"), **part,
    )  # fmt: skip
    if revision and loaded.revision != revision:
        raise ModelError(
            f"{loaded.name} is not the model that run {run.run_id} was made with: its revision is "
            f"{_short(loaded.revision)}, the run's is {_short(revision)}; give the model as it was, or extract the "
            "run again."
        )
    return loaded


def needs_folder(manifest: Mapping[str, object]) -> bool:
    """True for a run whose model came from a folder: only the folder's name and fingerprint are written down."""
    from analysis.models import BUNDLED_MODELS

    is_fingerprint = str(manifest.get("model_revision") or "sha256:").startswith("sha256:")
    return is_fingerprint and manifest.get("model") not in BUNDLED_MODELS


def capture_new(
    run: Run,
    *,
    text: str | None = None,
    image: bytes | str | Path | None = None,
    model: str | Path | None = None,
    loaded: LoadedModel | None = None,
) -> NewInput:
    """Run the model of a run on one new text or image, captured as the run's own inputs were.

    Args:
        text: For a run of texts; what is over the model's limit is cut, and said.
        image: For a run of images: its file, or the bytes of one.
        model: See `load_run_model`.
        loaded: What `load_run_model` gave, to load it only once.

    Raises:
        UserError: A text for a run of images or the other way round, nothing in it, too long, or no model.
    """
    from analysis.capture import run_batch
    from analysis.inputs import encode

    if (text is None) == (image is None):
        raise InputError("One text or one image was expected: give one of them.")
    given = "text" if text is not None else "vision"
    if given != run.modality:
        raise InputError(f"Run {run.run_id} is of {_WHAT[run.modality]}, and {_WHAT[given]} came: give the same kind.")
    raw = _raw_text(text) if text is not None else _raw_image(image)
    loaded = loaded or load_run_model(run, model)
    inputs = encode(raw, loaded, target="same" if run.manifest.get("decoder_reads") == "same" else "auto")
    plan = run.capture_plan
    _check_size(inputs, plan.sites)
    (captures,) = run_batch(loaded, plan, [(NEW_INPUT, inputs.tensors(0))], stores_attention=True)
    row = inputs.inputs.iloc[0]
    n_cut = int(row["n_cut"])
    cut = f"{n_cut:,} tokens beyond the model's limit of {loaded.max_tokens:,} were cut." if n_cut else ""
    return NewInput(
        text=str(row["text"]) if text is not None else None,
        image=bytes(row["image"]) if text is None else None,
        target=str(row["target"]) if inputs.target else None,
        tokens=_as_in(run, inputs.tokens),
        captures={capture.site.key: capture for capture in captures},
        n_cut=n_cut,
        notes=tuple(note for note in (cut, *(inputs.notes if inputs.target else ())) if note),
        model=(loaded.name, loaded.revision),
    )


def map_new(
    run: Run, new: NewInput, site: Site | str, head: int, projection: str | None = None
) -> tuple[Float32[np.ndarray, "query dims"], Float32[np.ndarray, "key dims"]]:
    """Where the queries and keys of a new input lie in a linear map of the run.

    An input of the run, captured again, lies where the map has it, as far as fp16 rounding of the stored vectors
    allows; in maps fitted on a sample (over 20,000 tokens) other points were placed beside their neighbours instead.

    Args:
        projection: Name of the map; by default the first linear one.

    Raises:
        RunError: The run has no linear map, or the one named is made otherwise.
    """
    from analysis.projection.linear import place

    name = linear_map(run, projection)
    found = run.site(site)
    table = run.head_parameters(name)
    rows = table.loc[(table["site"] == found.key) & (table["head"] == head), "parameters"]
    if rows.empty or "query_matrix" not in rows.iloc[0]:
        raise RunError(f"The map {name} of {found.label} head {head} does not say how it places points.")
    parameters = rows.iloc[0]
    return place(parameters, new.queries(found, head), "query"), place(parameters, new.keys(found, head), "key")


def linear_map(run: Run, projection: str | None = None) -> str:
    """The name of a map of the run that new points can be placed in.

    Raises:
        RunError: There is none, or the one asked for is not linear; with what to do.
    """
    maps = run.projections()
    linear = maps.loc[maps["method"] == "linear", "name"].tolist()
    if not linear:
        make = f"python -m analysis project {run.run_id} --method linear"
        raise RunError(f"New points are placed by a linear map, and {run.run_id} has none; make one with: {make}")
    if projection is None:
        return linear[0]
    if projection not in linear:
        raise RunError(f"The map {projection!r} takes no new points; linear maps do: {', '.join(linear)}.")
    return projection


def _raw_text(text: str) -> RawData:
    from analysis.inputs import RawData
    from analysis.inputs.rows import MAX_CHARACTERS, clean

    if not text.strip():
        raise InputError("The new text is blank: give at least one letter.")
    if len(text) > MAX_CHARACTERS or "\0" in text:
        reason = "a NUL character" if "\0" in text else f"{len(text):,} letters; at most {MAX_CHARACTERS:,} are read"
        raise InputError(f"The new text has {reason}: correct it.")
    cleaned, _ = clean(text)
    return RawData("new text", "text", [cleaned], ["new text"], {}, [], [], _hash(cleaned.encode()))


def _raw_image(image: bytes | str | Path) -> RawData:
    from analysis.inputs import RawData
    from analysis.inputs.image_files import check_image
    from analysis.inputs.media_files import read_bytes
    from analysis.inputs.records import Unreadable

    source = _source(image)
    try:
        content = read_bytes(source)
        check_image(content)
    except Unreadable as reason:
        raise InputError(f"The new image cannot be read: {reason}.") from reason
    return RawData("new image", "vision", [source], [source.name], {}, [], [], _hash(content))


def _source(image: bytes | str | Path) -> ImageSource:
    from analysis.inputs import ImageSource

    if isinstance(image, bytes):
        return ImageSource("new image", content=image)
    return ImageSource(printable(Path(image).name), path=Path(image).expanduser())


def _check_size(inputs: Inputs, sites: list[Site]) -> None:
    n_tokens, n_heads = inputs.n_tokens(0), sum(site.n_heads for site in sites)
    n_bytes = 4 * n_heads * n_tokens**2
    if n_bytes > MOST_BYTES:
        raise UserError(
            f"The new input has {n_tokens:,} tokens, and the attention of {n_heads:,} heads on it would take "
            f"{n_bytes / 1e9:.1f} GB, where {MOST_BYTES / 1e9:.0f} GB are the most: give a shorter one."
        )


def _as_in(run: Run, tokens: pd.DataFrame) -> pd.DataFrame:
    """The columns of the run's token table, in its order."""
    known = run.tokens()
    tokens = tokens.assign(input_id=np.int32(NEW_INPUT))
    if "frequency" in known:
        counts = known.groupby("text")["frequency"].max()
        tokens["frequency"] = tokens["text"].map(counts).fillna(0).astype(np.int32)
    return tokens.reindex(columns=known.columns)


def _hash(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _short(revision: str) -> str:
    return revision[:19]

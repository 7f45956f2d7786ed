"""Texts and images that somebody typed or dropped: run through the model once and kept a while for every session.

The link holds a text itself as ``new=…``. An image is kept beside the runs under its digest, and ``new=`` is that.
"""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from analysis.errors import InputError, ModelError, UserError
from analysis.pipeline.new_input import NewInput, capture_new, linear_map, load_run_model, map_new, needs_folder
from analysis.store import runs_dir
from app import cache, jobs
from app.hosted.public import owner_only, runs_models
from app.jobs.requests.extraction import JobRequest
from app.state import Selection

if TYPE_CHECKING:
    from analysis.models import LoadedModel

NEW = "new"
"""The word of the link that holds a new text, or the digest of a new image."""

SPOT = "spot"
"""The word of the link that holds the position of the picked token of a new input."""

LONGEST_TEXT = 400
LARGEST_IMAGE = 10_000_000
KEPT_IMAGES = 64
"""Of dropped images the newest are kept; a link to an older one says that it has gone."""

_DIGEST = re.compile(r"[0-9a-f]{32}")
_one_at_a_time = threading.Lock()


def is_offered() -> bool:
    """Whether a model is run at once for what somebody types: not on a public page."""
    return runs_models()


def asked_for(selection: Selection) -> str | None:
    """The new text, or the digest of the new image, that the link holds; None where it holds none."""
    said = selection.options.get(NEW, "")
    return said if said.strip() else None


def new_input(run_id: str, new: str) -> NewInput:
    """The new input that the link holds, through the model of the run; the first one loads the model (seconds).

    Args:
        new: For a run of texts the text; for a run of images the digest that `keep_image` gave.

    Raises:
        UserError: Too long, not offered here, the model cannot be found, or the image has gone.
    """
    if not is_offered():
        raise UserError("This public page shows finished runs and runs no model: start your own copy for new inputs.")
    if len(new) > LONGEST_TEXT:
        raise InputError(f"The new text has {len(new):,} letters; at most {LONGEST_TEXT} are taken: shorten it.")
    return _new_input(run_id, str(runs_dir()), cache.stamp(run_id), new, model_folder(run_id) or "")


def spot(selection: Selection, n_tokens: int) -> int | None:
    """Position of the picked token of a new input of so many tokens; None where none is picked."""
    said = selection.options.get(SPOT, "")
    is_place = said.isascii() and said.isdigit() and len(said) < 9 and int(said) < n_tokens
    return int(said) if is_place else None


def new_points(
    run_id: str, new: str, site: str, head: int, map_name: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Where the new input's queries and keys lie in a linear map of a head, each ``[token, dims]``.

    Raises:
        UserError: As `new_input`, or the map is not linear.
    """
    made = new_input(run_id, new)
    opened = cache.run(run_id)
    return map_new(opened, made, site, head, linear_map(opened, map_name))


def keep_image(content: bytes) -> str:
    """Keep a dropped image for its link.

    Returns:
        The word for the link: a digest of its bytes.

    Raises:
        UserError: It is too large, or no image, or the page is public.
    """
    owner_only("keeps no images")
    from analysis.inputs.image_files import check_image
    from analysis.inputs.records import Unreadable

    if len(content) > LARGEST_IMAGE:
        size, most = len(content) / 1e6, LARGEST_IMAGE / 1e6
        raise InputError(f"The image has {size:.0f} MB; at most {most:.0f} MB are taken: make it smaller.")
    try:
        check_image(content)
    except Unreadable as reason:
        raise InputError(f"The image cannot be read: {reason}.") from reason
    digest = hashlib.sha256(content).hexdigest()[:32]
    folder = _images()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / digest).write_bytes(content)
    old = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_IMAGES:]
    for path in old:
        path.unlink(missing_ok=True)
    return digest


def model_folder(run_id: str) -> str | None:
    """The folder of the model of a run made on this page; None where the run says how to find its model, or nobody
    knows."""
    if not needs_folder(cache.run(run_id).manifest):
        return None
    found = [job for job in jobs.list_jobs(runs_dir()) if job.run_id == run_id]
    made = (job.request.model for job in found if isinstance(job.request, JobRequest))
    return st.session_state.get(_folder_key(run_id)) or next((name for name in made if Path(name).is_dir()), None)


def lacks_model(run_id: str) -> bool:
    """True where only somebody who knows the model's folder can try a new input."""
    return needs_folder(cache.run(run_id).manifest) and model_folder(run_id) is None


def remember_folder(run_id: str, folder: str) -> None:
    """The folder of the run's model, as somebody of this session says."""
    st.session_state[_folder_key(run_id)] = folder


@st.cache_resource(max_entries=4, show_spinner=False)
def _new_input(run_id: str, folder: str, stamp: str, new: str, model: str) -> NewInput:
    opened = cache.run(run_id)
    with _one_at_a_time:
        loaded = _loaded(run_id, str(opened.manifest.get("model_revision")), opened.modality, model)
        if opened.modality == "text":
            return capture_new(opened, text=new, loaded=loaded)
        return capture_new(opened, image=_image(new), loaded=loaded)


@st.cache_resource(max_entries=1, show_spinner="Loading the model …")
def _loaded(run_id: str, revision: str, modality: str, model: str) -> LoadedModel:
    try:
        return load_run_model(cache.run(run_id), model or None)
    except ModelError as error:
        raise ModelError(f"{str(error).rstrip('.')}. A new input needs the model itself.") from error


def _image(digest: str) -> bytes:
    path = _images() / digest
    if not _DIGEST.fullmatch(digest) or not path.is_file():
        raise InputError("The link names a dropped image that is not kept here any more: drop it again.")
    return path.read_bytes()


def _images() -> Path:
    return runs_dir() / ".new"


def _folder_key(run_id: str) -> str:
    return f"new_model_folder_{run_id}"

"""The form for a new run, in three steps: model, data, limits with the plan."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.inputs import BUNDLED_DATA
from analysis.models import BUNDLED_MODELS
from analysis.projection import PROJECTIONS
from analysis.store import runs_dir
from app import jobs, widgets
from app.glossary import meaning
from app.jobs.files import IMAGES, TABLES, check_kinds, save_data
from app.jobs.requests.extraction import HUB_ID, JobRequest
from app.model_kind import PAIR, UNKNOWN, WRITES, model_kind
from app.views.run_plan import forget_plan, render_plan, start_plan

PAIRS = {"demo-language": "demo-sentences", "demo-vision": "demo-scenes"}
"""The bundled data each bundled model was made for."""

_DRAFT = "run_form_draft"


def render_form(runs: pd.DataFrame) -> None:
    """Three columns, a plan and a button."""
    with st.container(border=True, key="run_form"):
        with st.container(key="run_steps"):
            first, second, third = st.columns(3, gap="medium")
        with first:
            model = _pick_model(runs)
        with second:
            data = pick_data(model)
        with third:
            limits = pick_limits()
            limits |= pick_more(model)
            with st.container(horizontal=True):
                wants_plan = st.button(
                    "Estimate", key="form_plan", help="A dry run on the longest input. Writes no run."
                )
                wants_start = st.button("Start", key="form_start", type="primary")
        request, missing = _asked(model, data, limits)
        try:
            if wants_start or wants_plan:
                if request is None:
                    raise UserError(missing)
                _start(request) if wants_start else start_plan(request)
        except UserError as error:
            widgets.say_problem(str(error))
        render_plan(request)


def _pick_model(runs: pd.DataFrame) -> str:
    st.markdown("**1 · Model**")
    recent = _recent(runs)
    ways = {"bundled": "Bundled", **({"recent": "Recent"} if recent else {}), "hub": "Hub id", "folder": "Folder"}
    way = st.segmented_control(
        "Model from", list(ways), default="bundled", key="form_model_way", format_func=ways.get, required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    if way == "bundled":
        return st.selectbox(
            "Bundled model",
            list(BUNDLED_MODELS),
            key="form_model_bundled",
            help="Trained for this atlas; no network needed.",
        )
    if way == "recent":
        return st.selectbox("A model used before", recent, key="form_model_recent")
    if way == "hub":
        typed = st.text_input(
            "Hub id",
            key="form_model_hub",
            placeholder="owner/name",
            help="Weights are read as safetensors only, and no code of the model is run.",
        ).strip()
        if typed and not HUB_ID.fullmatch(typed):
            st.caption(":red[This is no hub id: owner/name, of letters, digits, dots, dashes and underscores.]")
            return ""
        return typed
    typed = st.text_input(
        "Folder", key="form_model_folder", placeholder="/path/to/model",
        help="On the machine that runs this page: config.json, model.safetensors and the tokenizer or image processor.",
    ).strip()  # fmt: skip
    return _whole_path(typed)


def _recent(runs: pd.DataFrame) -> list[str]:
    asked = [job.request.model for job in jobs.list_jobs(runs_dir()) if isinstance(job.request, JobRequest)]
    made = [name for name in runs["model"] if isinstance(name, str) and "/" in name]
    return [name for name in dict.fromkeys([*asked, *made]) if name not in BUNDLED_MODELS][:20]


def pick_data(model: str, most_mb: int | None = None) -> str | list[tuple[str, bytes]]:
    """A name or path, or the files that were uploaded or pasted.

    Args:
        most_mb: An upload may have; given, no path of this machine is asked for.
    """
    st.markdown("**2 · Data**")
    ways = {"bundled": "Bundled", "upload": "Upload", "paste": "Paste", **({} if most_mb else {"path": "Path"})}
    way = st.segmented_control(
        "Data from", list(ways), default="bundled", key="form_data_way", format_func=ways.get, required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    if way == "bundled":
        names = list(BUNDLED_DATA)
        fitting = PAIRS.get(model, names[0])
        return st.selectbox("Bundled data", names, index=names.index(fitting), key=f"form_data_bundled_{fitting}")
    if way == "upload":
        endings = [ending.lstrip(".") for ending in (*TABLES, *IMAGES)]
        files = st.file_uploader(
            "One table or text file, or images", endings, accept_multiple_files=True, key="form_data_upload",
            max_upload_size=most_mb,
        )  # fmt: skip
        return [(file.name, file.getvalue()) for file in files]
    if way == "paste":
        text = st.text_area(
            "One text a line", key="form_data_paste", height=128, placeholder="The cat sat on the mat.\n…",
            max_chars=most_mb and most_mb * 1_000_000,
        )  # fmt: skip
        return [("pasted.txt", text.encode())] if text.strip() else []
    typed = st.text_input(
        "File or folder", key="form_data_path", placeholder="/path/to/texts.csv",
        help="On the machine that runs this page: .txt (one input a line), a table with a column text or image, or a "
        "folder of images.",
    ).strip()  # fmt: skip
    return _whole_path(typed)


def _whole_path(typed: str) -> str:
    """With the home folder for ``~``; as it was typed where there is no such user."""
    try:
        return str(Path(typed).expanduser()) if typed else ""
    except RuntimeError:
        return typed


def pick_limits(most: int | None = None) -> dict:
    """How many inputs, which layers, which maps.

    Args:
        most: Inputs that are taken in any case.
    """
    st.markdown("**3 · Limits**")
    inputs, layers = st.columns(2)
    limit = inputs.number_input(
        "Inputs, at most", min_value=1, max_value=most, value=None, placeholder="all" if most is None else f"{most:,}",
        key="form_limit",
    )  # fmt: skip
    chosen = layers.text_input("Layers", key="form_layers", placeholder="all, or 0-3,11").replace(" ", "")
    maps = st.multiselect(
        "Maps",
        list(PROJECTIONS),
        default=["atlas"],
        key="form_maps",
        help=meaning("map", "More can be added later."),
    )
    return {"limit": limit, "layers": chosen or None, "projections": tuple(maps) or ("none",)}


_NUMBERS = {
    "float32": "float32, exact",
    "float16": "float16, half the memory",
    "bfloat16": "bfloat16, half the memory",
}
_READS = {
    "auto": "the column target, else what the model writes",
    "generate": "what the model writes",
    "same": "the input text itself",
}
_PARTS = {"whole": "encoder, decoder and cross-attention", "encoder": "the encoder alone"}


def pick_more(model: str) -> dict:
    """What few runs need: as much of it as makes sense for the model."""
    kind = model_kind(model)
    more: dict = {}
    with st.expander("More"):
        if kind in (WRITES, UNKNOWN):
            more["generate"] = st.number_input(
                "Tokens to write behind each text, at most", min_value=0, max_value=512, value=0, key="form_generate",
                help="A language model goes on with every text, always with the likeliest token, and the whole is "
                "captured: the Input page then goes through it step by step. 0: the texts as they are. Not for models "
                "of images, or without the head that writes.",
            )  # fmt: skip
        if kind in (PAIR, UNKNOWN):
            more["part"] = st.selectbox(
                "Part of an encoder-decoder", list(_PARTS), key="form_part", format_func=_PARTS.get,
                help="Such a model reads the input with its encoder, and a second text with its decoder. Says nothing "
                "of other models.",
            )  # fmt: skip
            more["target"] = st.selectbox(
                "The decoder reads", list(_READS), key="form_target", format_func=_READS.get,
                disabled=more["part"] == "encoder",
                help="The text of the second sequence: a column target of the data, or up to 64 tokens that the model "
                "writes by itself.",
            )  # fmt: skip
        more["dtype"] = st.selectbox(
            "Numbers", list(_NUMBERS), key="form_dtype", format_func=_NUMBERS.get,
            help="What the model computes in. In half precision its attention is exact to 3 digits (float16) or 2 "
            "(bfloat16); the certificate says by how much.",
        )  # fmt: skip
    if more.get("part") == "encoder":
        more["target"] = "auto"
    return more


def _materialise(data: str | list[tuple[str, bytes]]) -> str:
    """The name or path for the command; uploads are written into a job folder, once for the same files.

    Raises:
        UserError: Nothing was given, or tables and images together.
    """
    if isinstance(data, str):
        if data and data not in BUNDLED_DATA and not os.path.exists(data):
            raise UserError(f"There is no file or folder {data} on the machine that runs this page: check the path.")
        return data
    if not data:
        raise UserError("No data was given: upload a file, paste texts, or choose the bundled data.")
    digest = hashlib.sha256(
        repr([(name, hashlib.sha256(content).digest()) for name, content in data]).encode()
    ).hexdigest()
    drafted = st.session_state.get(_DRAFT)
    if drafted and drafted[0] == digest and Path(drafted[1]).exists():
        return drafted[1]
    check_kinds(data)
    jobs.delete_old_drafts(runs_dir())
    path = str(save_data(jobs.new_job_folder(runs_dir()), data))
    st.session_state[_DRAFT] = (digest, path)
    return path


def _asked(model: str, data: str | list[tuple[str, bytes]], limits: dict) -> tuple[JobRequest | None, str]:
    """What the form asks for, or None and the sentence that says what is missing."""
    try:
        request = JobRequest(model=model, data=_materialise(data), **limits)
        request.arguments()
    except UserError as error:
        return None, str(error)
    except OSError as error:
        return None, f"That cannot be the path of a model or of data here ({error.strerror}): check it."
    return request, ""


def _start(request: JobRequest) -> None:
    jobs.start_job(runs_dir(), request)
    forget_plan()
    widgets.select(form=None)
    st.rerun()

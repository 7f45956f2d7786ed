"""The files of a model and the weights in them: nothing of its own code, and nothing but safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import InputError, ModelError, first_line
from analysis.models.find import find_model
from analysis.models.placing import DeviceMap, loading_options, read_device_map
from analysis.types import VISION_AND_TEXT

DTYPES = ("float32", "float16", "bfloat16")

HARMLESS_KEY = re.compile(
    r"^(.*_model\.)?(pooler|head|classifier|lm_head|text_projection|visual_projection|logit_scale|logit_bias)\b"
    r"|(mask_token|position_ids)$"
)
"""Weights a file may lack: they act after the last attention call, or only in training."""


@dataclass(frozen=True)
class ModelFiles:
    """A model that is found and known, not yet loaded.

    Attributes:
        config: The model's own.
        dtype: To load it in.
        load_in: As `load_model` takes it.
        device_map: Read already.
    """

    folder: Path
    name: str
    revision: str
    config: Any
    dtype: str
    load_in: str | None = None
    device_map: DeviceMap | str | None = None


def find_files(
    name: str | Path,
    modality: str | None,
    dtype: str,
    revision: str | None,
    load_in: str | None = None,
    device_map: DeviceMap | str | None = None,
) -> ModelFiles:
    """Find a model and read its config; see `load_model`."""
    if dtype not in DTYPES:
        raise ModelError(f"There is no dtype {dtype!r} here; known: {', '.join(DTYPES)}.")
    if modality not in (None, "text", "vision", "audio", VISION_AND_TEXT):
        raise InputError(f"There is no modality {modality!r}; known: text, vision, audio.")
    folder, shown, found_revision = find_model(str(name), revision)
    config = _load_config(folder, shown)
    return ModelFiles(folder, shown, found_revision, config, dtype, load_in, read_device_map(device_map))


def _load_config(folder: Path, name: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # a config of a stranger makes transformers raise almost anything
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{name} needs code of its own to run, which is never trusted here: give a model that transformers "
                "itself knows."
            ) from error
        raise ModelError(f"{name} has a config.json that transformers does not know: {first_line(error)}") from error
    if asked := _code_of_the_hub(json.loads((folder / "config.json").read_bytes())):
        raise ModelError(
            f"{name} asks for attention code of the hub ({asked[:100]!r} in its config.json), which is never run here: "
            "take that line out."
        )
    return config


def _code_of_the_hub(settings: Any) -> str | None:
    """The repository of attention kernels that a config names: where the package kernels is installed, transformers
    downloads and runs what it finds there."""
    if not isinstance(settings, dict):
        return None
    for key, value in settings.items():
        if str(key).strip("_").startswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
            return str(value)
        if found := _code_of_the_hub(value):
            return found
    return None


class _LacksWeights(ModelError):
    """What is missing would be random."""


def load_weights(files: ModelFiles, auto: str = "AutoModel") -> tuple[Any, list[str]]:
    """A model from its safetensors, and the weights that its head lacks.

    Args:
        auto: The class of transformers that loads it; all but ``AutoModel`` put a head on top.

    Raises:
        ModelError: It does not load, or lacks weights below the head.
    """
    import torch
    import transformers

    options = loading_options(getattr(transformers, auto), files.config, files.device_map, files.load_in)
    try:
        with quiet():
            model, found = getattr(transformers, auto).from_pretrained(
                files.folder,
                **options,
                dtype=getattr(torch, files.dtype),
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # as in _load_config
        in_bits = f" in {files.load_in}" if files.load_in else ""
        raise ModelError(f"{files.name} does not load{in_bits}: {first_line(error)}") from error
    head = [] if auto == "AutoModel" else sorted(key for key in found["missing_keys"] if _is_of_head(model, key))
    missing = sorted(key for key in found["missing_keys"] if key not in head and not HARMLESS_KEY.search(key))
    if missing:
        raise _LacksWeights(
            f"{files.name} lacks {len(missing)} weights of a {type(model).__name__}, as {', '.join(missing[:3])}: "
            "they would be random, and so would the attention; give a folder that holds the whole model."
        )
    return model, head


def load_as_saved(files: ModelFiles) -> Any:
    """A model as ``AutoModel`` takes it; where its weights are not those of that class, by the class that saved them.

    Raises:
        ModelError: It does not load, or lacks weights either way.
    """
    try:
        return load_weights(files)[0]
    except _LacksWeights:
        named = _saved_class(files)
        if named is None:
            raise
        with suppress(_LacksWeights):
            model, lacking = load_weights(files, named)
            if not lacking:
                return model
        raise


def _saved_class(files: ModelFiles) -> str | None:
    """The class of transformers that the config says it was saved by."""
    import transformers

    for name in getattr(files.config, "architectures", None) or []:
        if getattr(getattr(transformers, name, None), "config_class", None) is type(files.config):
            return name
    return None


def _is_of_head(model: Any, key: str) -> bool:
    """True for a weight that is not of the model below its head; a T5 holds its head beside encoder and decoder."""
    if model.base_model is model:
        return key.split(".")[0] in ("lm_head", "final_logits_bias")
    return not key.startswith(f"{model.base_model_prefix}.")


def writing_class(files: ModelFiles) -> str | None:
    """The class of transformers that loads an encoder-decoder with the head it writes with, where the config names a
    model with such a head; None for others."""
    from transformers.models.auto import modeling_auto

    if not getattr(files.config, "is_encoder_decoder", False):
        return None
    named = getattr(files.config, "architectures", None) or []
    for auto, known in (
        ("AutoModelForSeq2SeqLM", modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        ("AutoModelForSpeechSeq2Seq", modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES),
    ):
        heads = known.get(files.config.model_type, ())
        if any(name in ((heads,) if isinstance(heads, str) else heads) for name in named):
            return auto
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar and no report of unused weights while loading: what matters of it is checked."""
    from logging import ERROR, getLogger

    from transformers.utils import logging

    level, shows_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    spreading = getLogger("accelerate.big_modeling")
    before = spreading.level
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    spreading.setLevel(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        spreading.setLevel(before)
        if shows_bar:
            logging.enable_progress_bar()

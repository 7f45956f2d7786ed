"""Load a model and its tokenizer, image processor or feature extractor: which part of it, and as what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.errors import InputError, ModelError
from analysis.models.detecting import load_detecting, looks_for_objects
from analysis.models.loaded import LoadedModel
from analysis.models.placing import DeviceMap, put_on
from analysis.models.seeing import load_seeing, sees
from analysis.models.towers import modalities, ready, tower
from analysis.models.transcribing import hears_and_reads, load_transcribing
from analysis.models.weights import ModelFiles, find_files, load_as_saved, load_weights, writing_class
from analysis.types import DECODER, ENCODER, VISION_AND_TEXT, InputSequence

PARTS = ("whole", "encoder")
"""What is run of an encoder-decoder of texts."""


def load_model(
    name: str | Path,
    *,
    modality: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    part: str = "whole",
    writes: bool = False,
    load_in: str | None = None,
    device_map: DeviceMap | str | None = None,
) -> LoadedModel:
    """Load a model for looking at its attention: no head on top, in eval mode.

    Args:
        name: A bundled name (``demo-language``), a folder with ``config.json`` and safetensors, or a hub id.
        modality: ``text``, ``vision`` or ``audio``; chooses the tower of a two-tower model. By default what the model
            reads.
        device: As torch names it; by default the GPU where there is one.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        revision: Branch, tag or commit on the hub; not for folders.
        part: One of `PARTS`: an encoder-decoder of texts whole, or its encoder alone. Says nothing of other models.
        writes: A decoder comes with the head that it writes with, as `LoadedModel.writer`.
        load_in: ``8bit``: weights of linear layers in 8 bits, where the package bitsandbytes is installed.
        device_map: Spreads a model that is too large for one device: ``auto``, a JSON file, or a map as accelerate
            takes it, from the names of parts to devices.

    Raises:
        ModelError: Nothing by that name, no safetensors, no fast tokenizer, own code needed, network away.
        InputError: The model does not read this modality, or has no such part.
    """
    files = find_files(name, modality, dtype, revision, load_in, device_map)
    if part not in PARTS:
        raise InputError(f"There is no part {part!r} of a model; known: {', '.join(PARTS)}.")
    if writes and not getattr(files.config, "is_encoder_decoder", False):
        return _that_writes(files, device)
    writing = writing_class(files) if part == "whole" else None
    whole, lacking = load_weights(files, writing) if writing else (load_as_saved(files), [])
    if modality == VISION_AND_TEXT:
        if sees(whole, modalities(whole)):
            return load_seeing(files, whole, device)
        modality = "vision" if "vision" in modalities(whole) else None
    if part == "whole" and _has_decoder_of_texts(whole) and modality in (None, "text"):
        writer = whole if writing and not lacking else None
        loaded = ready(files, whole.base_model, "text", device, ("text",))
        texts = InputSequence(ENCODER, "text"), InputSequence(DECODER, "text")
        return replace(loaded, sequences=texts, writer=None if writer is None else put_on(writer, loaded.device).eval())
    if part == "whole" and modality == "vision" and looks_for_objects(whole):
        return load_detecting(files, whole, device)
    if part == "whole" and modality == "audio" and hears_and_reads(whole):
        return load_transcribing(files, whole, device, can_write=writing is not None and not lacking)
    module, modality = tower(whole, modality, files.name)
    is_pair = getattr(files.config, "is_encoder_decoder", False)
    loaded = ready(files, module, modality, device, modalities(whole))
    return replace(loaded, part="encoder") if is_pair else loaded


def _that_writes(files: ModelFiles, device: str | None) -> LoadedModel:
    """A decoder with its language-model head.

    Raises:
        ModelError: Its class has none, or the file holds no weights for it.
    """
    from transformers.models.auto import modeling_auto

    if files.config.model_type not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(f"{files.name} ({files.config.model_type}) writes no text: leave --generate out.")
    whole, lacking = load_weights(files, "AutoModelForCausalLM")
    if lacking or not whole.can_generate():
        raise ModelError(
            f"{files.name} was saved without the head that writes text ({', '.join(lacking[:3]) or 'no generation'}): "
            "leave --generate out, or give a folder that holds the whole language model."
        )
    loaded = ready(files, whole.base_model, "text", device, ("text",))
    return replace(loaded, writer=put_on(whole, loaded.device).eval())


def _has_decoder_of_texts(model: Any) -> bool:
    return getattr(model.config, "is_encoder_decoder", False) and modalities(model) == ("text",)

"""The part of a model that reads one modality, made ready with what reads its input."""

from __future__ import annotations

from typing import Any

from analysis.errors import InputError
from analysis.models.hearing import load_feature_extractor
from analysis.models.loaded import LoadedModel
from analysis.models.placing import devices_of, input_device, is_placed, put_on
from analysis.models.processors import load_image_processor, load_tokenizer, max_tokens
from analysis.models.stages import count_stages, stage_name
from analysis.models.weights import ModelFiles
from analysis.types import InputSequence


def ready(files: ModelFiles, module: Any, modality: str, device: str | None, reads: tuple[str, ...]) -> LoadedModel:
    """A loaded tower in eval mode, on its device, with what reads its input; see `LoadedModel`."""
    import torch

    folder, shown = files.folder, files.name
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = input_device(module) if is_placed(module) else device
    module = put_on(module, device).eval().requires_grad_(False)
    load = {"text": load_tokenizer, "vision": load_image_processor, "audio": load_feature_extractor}[modality]
    processor = load(folder, shown)
    n_stages = count_stages(module) if modality == "vision" else 1
    stages = tuple(InputSequence(stage_name(number), modality) for number in range(n_stages)) if n_stages > 1 else ()
    return LoadedModel(
        module=module,
        processor=processor,
        name=shown,
        revision=files.revision,
        modality=modality,
        model_type=files.config.model_type,
        n_parameters=sum(parameter.numel() for parameter in module.parameters()),
        max_tokens=max_tokens(module, processor) if modality == "text" else None,
        dtype=files.dtype,
        device=str(device),
        reads=reads,
        devices=devices_of(module),
        load_in=files.load_in,
        sequences=stages,
    )


def tower(model: Any, modality: str | None, name: str) -> tuple[Any, str]:
    """The part of the model that reads one modality, by itself: encoder of an encoder-decoder, tower of a pair."""
    from transformers import PreTrainedModel

    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    reads = modalities(model)
    modality = modality or reads[0]
    if reads == (modality,):
        return model, modality
    for _, part in model.named_modules():
        if part is not model and isinstance(part, PreTrainedModel) and modalities(part) == (modality,):
            return part, modality
    raise InputError(
        f"{name} reads {' and '.join(reads)}, but the data is {modality}: give it {' or '.join(reads)} data."
    )


def modalities(model: Any) -> tuple[str, ...]:
    """What a `PreTrainedModel` reads, in our words: ``text``, ``vision``, ``audio``."""
    declared = getattr(model, "input_modalities", "text")
    declared = (declared,) if isinstance(declared, str) else tuple(declared)
    words = {"image": "vision", "video": "vision"}
    reads = tuple(dict.fromkeys(words.get(word, word) for word in declared))
    if len(reads) == 1 and getattr(model, "main_input_name", "").startswith("pixel_values"):
        return ("vision",)
    return reads

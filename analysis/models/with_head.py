"""Load a model with the head its weights hold: what predicts the next token, the masked one, or a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.models.load import load_model
from analysis.models.loaded import LoadedModel
from analysis.models.placing import DeviceMap, put_on
from analysis.models.towers import modalities, ready
from analysis.models.weights import find_files, load_weights

NEXT_TOKEN, MASKED_TOKEN, CLASS = "next token", "masked token", "class"
"""What a head predicts."""

_HEADS = (
    (NEXT_TOKEN, "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "AutoModelForCausalLM"),
    (MASKED_TOKEN, "MODEL_FOR_MASKED_LM_MAPPING_NAMES", "AutoModelForMaskedLM"),
    (CLASS, "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", "AutoModelForImageClassification"),
    (CLASS, "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", "AutoModelForSequenceClassification"),
)


@dataclass(frozen=True)
class HeadedModel(LoadedModel):
    """A model and, where its weights hold one, the head on top of it.

    Attributes:
        module: The tower, as `load_model` gives it; its modules have the names that sites are made of.
        whole: The same tower with its head, whose output has ``logits``; the tower itself where there is no head.
        predicts: `NEXT_TOKEN`, `MASKED_TOKEN` or `CLASS`; None without a head.
        class_names: Name of each class by its number.
        no_head: Why there is no head, a sentence; empty where there is one.
    """

    whole: Any = None
    predicts: str | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)
    no_head: str = ""


def load_with_head(
    name: str | Path,
    *,
    modality: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    load_in: str | None = None,
    device_map: DeviceMap | str | None = None,
) -> HeadedModel:
    """Load a model with its own head, as safely as `load_model` does; see there for the arguments.

    The head is the one of the class that the config names. Where that is none of the known kinds, or the weights lack
    part of the head, which would then be random, the model comes without: `HeadedModel.no_head` says why. Of an
    encoder-decoder the encoder comes, without a head.

    Raises:
        ModelError: As `load_model`.
        InputError: As `load_model`.
    """
    files = find_files(name, modality, dtype, revision, load_in, device_map)
    found, config = _head_of(files.config), files.config
    if found is None or getattr(config, "is_encoder_decoder", False):
        named = ", ".join(getattr(config, "architectures", None) or ["no class"])
        why = f"{files.name} has no head for next tokens, masked tokens or classes ({named})."
    else:
        predicts, auto = found
        whole, missing = load_weights(files, auto)
        tower = whole.base_model
        why = _unfit(files.name, whole, missing, predicts, modality)
        if not why:
            loaded = ready(files, tower, modalities(tower)[0], device, modalities(tower))
            whole = put_on(whole, loaded.device).eval().requires_grad_(False)
            why = _make_usable(whole, loaded, predicts)
        if not why:
            class_names = {int(number): str(name) for number, name in config.id2label.items()}
            return HeadedModel(
                **vars(loaded), whole=whole, predicts=predicts, class_names=class_names if predicts == CLASS else {}
            )
    loaded = load_model(
        name, modality=modality, device=device, dtype=dtype, revision=revision, part="encoder", load_in=load_in,
        device_map=device_map,
    )  # fmt: skip
    return HeadedModel(**vars(loaded), whole=loaded.module, no_head=why)


def _unfit(name: str, whole: Any, missing: list[str], predicts: str, modality: str | None) -> str:
    """Why a loaded head cannot be used, a sentence; empty when it can."""
    from transformers import AutoModel

    towers = AutoModel._model_mapping.get(type(whole.config), ())
    if missing:
        return f"{name} lacks weights of its head ({', '.join(missing[:3])})."
    if not isinstance(whole.base_model, towers) or modality not in (None, *modalities(whole.base_model)):
        return f"{type(whole).__name__} builds its model otherwise than without the head."
    if predicts == CLASS and not _is_one_of_many(whole.config):
        return f"{name} does not choose one class of several."
    return ""


def _make_usable(whole: Any, loaded: LoadedModel, predicts: str) -> str:
    """Make a head take a batch of equal rows; why it cannot, a sentence, or nothing."""
    if predicts == MASKED_TOKEN and getattr(loaded.processor, "mask_token_id", None) is None:
        return f"The tokenizer of {loaded.name} has no mask token."
    if predicts == CLASS and loaded.modality == "text" and whole.config.pad_token_id is None:
        whole.config.pad_token_id = -1  # no token is padding: the class is read at the last one
    return ""


def _head_of(config: Any) -> tuple[str, str] | None:
    """What the head of the config's class predicts, and the auto class that loads it."""
    from transformers.models.auto import modeling_auto

    for architecture in getattr(config, "architectures", None) or []:
        for predicts, mapping, auto in _HEADS:
            known = getattr(modeling_auto, mapping).get(config.model_type, ())
            if architecture in ((known,) if isinstance(known, str) else known):
                return predicts, auto
    return None


def _is_one_of_many(config: Any) -> bool:
    return config.num_labels > 1 and config.problem_type in (None, "single_label_classification")

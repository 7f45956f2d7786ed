"""Load a model and its tokenizer or image processor, with none of its own code and nothing but safetensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from analysis.errors import InputError, ModelError
from analysis.models.decoding import continue_greedily, read_in_training, write_greedily
from analysis.models.drawing import draw, drawn_layout, draws_patches, kept_patches
from analysis.models.find import find_model
from analysis.models.forward import count_image_tokens
from analysis.models.hearing import Hearing, SoundLayout, hear, load_feature_extractor
from analysis.models.layout import ImageLayout, image_layout
from analysis.models.placing import (
    DeviceMap,
    devices_of,
    input_device,
    is_placed,
    loading_options,
    put_on,
    read_device_map,
)
from analysis.models.stages import count_stages, stage_layouts, stage_name
from analysis.types import DECODER, ENCODER, VISION_AND_TEXT, InputSequence

PARTS = ("whole", "encoder")
"""What is run of an encoder-decoder of texts."""

DTYPES = ("float32", "float16", "bfloat16")
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Without one of these transformers makes an empty tokenizer and says nothing."""

HARMLESS_KEY = re.compile(
    r"^(.*_model\.)?(pooler|head|classifier|lm_head|text_projection|visual_projection|logit_scale|logit_bias)\b"
    r"|(mask_token|position_ids)$"
)
"""Weights a file may lack: they act after the last attention call, or only in training."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, with what reads its input.

    Attributes:
        module: The tower for the modality, in eval mode, on `device`.
        processor: Fast tokenizer (text), image processor (vision) or feature extractor (audio).
        name: Bundled name, hub id, or a folder's base name.
        revision: Commit of the hub, or ``sha256:...`` over a folder's files.
        modality: ``text``, ``vision`` or ``audio``.
        max_tokens: Longest input in tokens; None when the model has no limit or takes images.
        reads: Every modality of the whole model, of which `module` may be one tower.
        part: One of `PARTS`; ``encoder`` where `module` is that of an encoder-decoder.
        sequences: The token lists that an input is made of, in the order of its token table; empty where it is one.
        writer: The model with the head that writes text, where its class has one; it holds `module`.
        device: Where its inputs go.
        devices: Every place that holds weights; more than one where a device map spreads them.
        load_in: One of `analysis.models.placing.LOADS_IN`; None where weights are kept in the numbers of `dtype`.
    """

    module: Any
    processor: Any
    name: str
    revision: str
    modality: str
    model_type: str
    n_parameters: int
    max_tokens: int | None
    dtype: str
    device: str
    reads: tuple[str, ...] = ()
    part: str = "whole"
    sequences: tuple[InputSequence, ...] = ()
    writer: Any = None
    devices: tuple[str, ...] = ()
    load_in: str | None = None

    @property
    def ran_as(self) -> str:
        """``float16 on cuda:0``: in which numbers it runs and where, in words."""
        in_bits = f"{self.dtype}, linear layers in 8 bits," if self.load_in else self.dtype
        return f"{in_bits} on {' and '.join(self.devices or (self.device,))}"

    def decoder_reads(self, labels: Sequence[int]) -> list[int]:
        """What the decoder reads while it is taught a text, as many tokens as `labels`; see `read_in_training`."""
        return read_in_training(self.writer or self.module, self.name, labels)

    def decoder_writes(
        self, inputs: Sequence[Int[np.ndarray, " token"]], wrote: Callable[[int], None] = lambda done: None
    ) -> list[list[int]]:
        """What the decoder reads while the model writes by itself, for each text; see `write_greedily`."""
        with quiet():
            return write_greedily(self.writer, inputs, self.processor.pad_token_id or 0, wrote)

    def goes_on(
        self,
        inputs: Sequence[Int[np.ndarray, " token"]],
        n_new: int,
        wrote: Callable[[int], None] = lambda done: None,
    ) -> list[list[int]]:
        """What the model writes behind each text; see `continue_greedily`."""
        with quiet():
            return continue_greedily(self.writer, inputs, n_new, wrote)

    def image_layout(self, height: int, width: int, n_tokens: int) -> ImageLayout:
        """Names and grid of the tokens of one processed image.

        Args:
            height: Pixels after the image processor.
            width: Pixels after the image processor.
            n_tokens: How many tokens the model makes of it.

        Raises:
            ModelError: The tokens are not one grid of patches behind a few special ones.
        """
        return image_layout(self.module, height, width, n_tokens)

    def hear(self, samples: Float[np.ndarray, " sample"]) -> dict[str, np.ndarray]:
        """What the model reads of a sound at its own rate, without the batch axis; see `hear` of `hearing`."""
        return hear(self.extractor, samples)

    @property
    def extractor(self) -> Any:
        """What reads sounds."""
        return self.processor

    def sound_layout(self, arrays: dict[str, np.ndarray]) -> SoundLayout:
        """Which token of a processed sound is what; see `analysis.models.hearing.Hearing.layout`."""
        return self._hearing.layout(arrays)

    @cached_property
    def _hearing(self) -> Hearing:
        return Hearing(self.module, self.extractor, self.name)

    @property
    def draws_patches(self) -> bool:
        """True where the model drops patches that it draws; see `analysis.models.drawing`."""
        return self.modality == "vision" and draws_patches(self.module)

    def with_noise(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One encoded image with the numbers that the model draws patches by, the same each time."""
        if not self.draws_patches or "noise" in tensors:
            return tensors
        return {**tensors, "noise": draw(self.module, tensors["pixel_values"])}

    def kept_patches(self, tensors: dict[str, np.ndarray]) -> Int[np.ndarray, " kept"]:
        """Which patches the model keeps of an encoded image with its noise, in the order of its tokens."""
        return kept_patches(self.module, tensors["pixel_values"].shape, tensors["noise"])

    def drawn_layout(self, height: int, width: int, n_kept: int) -> ImageLayout:
        """The whole grid of an image of which so many patches are kept."""
        return drawn_layout(self.module, height, width, self.n_image_tokens(height, width), n_kept)

    @property
    def has_stages(self) -> bool:
        """True where patches merge from stage to stage, and every stage is a sequence of its own."""
        return bool(self.sequences) and self.sequences[0].name == stage_name(0)

    def stage_layouts(self, height: int, width: int) -> list[ImageLayout]:
        """The grid of every stage of a model that merges patches, for one processed image; see `stage_layouts`."""
        return stage_layouts(self.module, height, width)

    def n_image_tokens(self, height: int, width: int) -> int:
        """How many tokens the model makes of one processed image, special ones included.

        Args:
            height: Pixels after the image processor.
            width: Pixels after the image processor.

        Raises:
            ModelError: The model does not take this size, or gives no sequence of tokens.
        """
        return count_image_tokens(self.module, self.name, height, width)


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
    whole, lacking = load_weights(files, writing or "AutoModel")
    if modality == VISION_AND_TEXT:
        from analysis.models.seeing import load_seeing, sees

        if sees(whole, modalities(whole)):
            return load_seeing(files, whole, device)
        modality = "vision" if "vision" in modalities(whole) else None
    if part == "whole" and _has_decoder_of_texts(whole) and modality in (None, "text"):
        writer = whole if writing and not lacking else None
        loaded = ready(files, whole.base_model, "text", device, ("text",))
        texts = InputSequence(ENCODER, "text"), InputSequence(DECODER, "text")
        return replace(loaded, sequences=texts, writer=None if writer is None else put_on(writer, loaded.device).eval())
    if part == "whole" and modality == "vision":
        from analysis.models.detecting import load_detecting, looks_for_objects

        if looks_for_objects(whole):
            return load_detecting(files, whole, device)
    if part == "whole" and modality == "audio":
        from analysis.models.transcribing import hears_and_reads, load_transcribing

        if hears_and_reads(whole):
            return load_transcribing(files, whole, device, can_write=writing is not None and not lacking)
    module, modality = _tower(whole, modality, files.name)
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


def ready(files: ModelFiles, module: Any, modality: str, device: str | None, reads: tuple[str, ...]) -> LoadedModel:
    """A loaded tower in eval mode, on its device, with what reads its input; see `LoadedModel`."""
    import torch

    folder, shown = files.folder, files.name
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = input_device(module) if is_placed(module) else device
    module = put_on(module, device).eval().requires_grad_(False)
    load = {"text": _load_tokenizer, "vision": _load_image_processor, "audio": load_feature_extractor}[modality]
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
        max_tokens=_max_tokens(module, processor) if modality == "text" else None,
        dtype=files.dtype,
        device=str(device),
        reads=reads,
        devices=devices_of(module),
        load_in=files.load_in,
        sequences=stages,
    )


def _load_config(folder: Path, name: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{name} needs code of its own to run, which is never trusted here: give a model that transformers "
                "itself knows."
            ) from error
        raise ModelError(f"{name} has a config.json that transformers does not know: {_first_line(error)}") from error
    return config


def load_weights(files: ModelFiles, auto: str = "AutoModel") -> tuple[Any, list[str]]:
    """A model from its safetensors, and the weights that its head lacks.

    Args:
        auto: The class of transformers that loads it; all but ``AutoModel`` put a head on top.

    Raises:
        ModelError: It does not load, or lacks weights below the head.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

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
    except (ValueError, KeyError, OSError, RuntimeError, ImportError, SafetensorError) as error:
        in_bits = f" in {files.load_in}" if files.load_in else ""
        raise ModelError(f"{files.name} does not load{in_bits}: {_first_line(error)}") from error
    head = [] if auto == "AutoModel" else sorted(key for key in found["missing_keys"] if _is_of_head(model, key))
    missing = sorted(key for key in found["missing_keys"] if key not in head and not HARMLESS_KEY.search(key))
    if missing:
        raise ModelError(
            f"{files.name} lacks {len(missing)} weights of a {type(model).__name__}, as {', '.join(missing[:3])}: "
            "they would be random, and so would the attention; give a folder that holds the whole model."
        )
    return model, head


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


def _has_decoder_of_texts(model: Any) -> bool:
    return getattr(model.config, "is_encoder_decoder", False) and modalities(model) == ("text",)


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


def _tower(model: Any, modality: str | None, name: str) -> tuple[Any, str]:
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


def _load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    if not any(path.is_file() for pattern in VOCABULARY_FILES for path in folder.glob(pattern)):
        raise ModelError(
            f"{name} has no tokenizer: expected one of {', '.join(VOCABULARY_FILES)} beside the weights; save it there "
            "with tokenizer.save_pretrained(folder)."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(f"{name} has no tokenizer that loads: {_first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{name} has no fast tokenizer (tokenizer.json), which is needed to find tokens in the text.")
    return tokenizer


def _load_image_processor(folder: Path, name: str) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True, backend="pil")
    except (ValueError, KeyError, OSError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{name} has no image processor that loads (preprocessor_config.json): {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _max_tokens(module: Any, tokenizer: Any) -> int | None:
    """The smallest limit that config, position table and tokenizer name; placeholders such as 1e30 do not count."""
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
    config = module.config.get_text_config() if hasattr(module.config, "get_text_config") else module.config
    limits = [limit for name in names if isinstance(limit := getattr(config, name, None), int) and limit > 0]
    for part_name, part in module.named_modules():
        if "position" in part_name and getattr(part, "padding_idx", None) is not None and part.num_embeddings in limits:
            limits.append(part.num_embeddings - part.padding_idx - 1)  # RoBERTa counts positions from padding_idx + 1
    if isinstance(tokenizer.model_max_length, int) and 0 < tokenizer.model_max_length < 10**7:
        limits.append(tokenizer.model_max_length)
    return min(limits, default=None)

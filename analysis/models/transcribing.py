"""Encoder-decoders that hear a sound and write a text: what they read, and what they write."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.models.decoding import write_for
from analysis.models.hearing import load_feature_extractor
from analysis.models.loaded import LoadedModel
from analysis.models.placing import put_on
from analysis.models.towers import modalities, ready
from analysis.models.weights import ModelFiles, quiet
from analysis.types import DECODER, ENCODER, InputSequence


@dataclass(frozen=True)
class TranscribingModel(LoadedModel):
    """An encoder over a sound and a decoder over a text, whole.

    Attributes:
        processor: The tokenizer of the decoder.
        hears_with: The feature extractor of the encoder.
    """

    hears_with: Any = None

    @property
    def extractor(self) -> Any:
        """What reads sounds."""
        return self.hears_with

    def writes_for(self, arrays: dict[str, np.ndarray]) -> list[int]:
        """What the decoder reads while the model writes of one processed sound; see `write_for`."""
        with quiet():
            return write_for(self.writer, self.name, arrays, self.max_tokens)


def hears_and_reads(model: Any) -> bool:
    """True for an encoder-decoder that takes a sound, and the ids of a text for its decoder."""
    base = model.base_model
    is_pair = getattr(model.config, "is_encoder_decoder", False) and "audio" in modalities(base)
    return is_pair and "decoder_input_ids" in inspect.signature(base.forward).parameters


def load_transcribing(files: ModelFiles, whole: Any, device: str | None, can_write: bool) -> TranscribingModel:
    """Such a model, ready to run, from its weights.

    Args:
        can_write: `whole` has its head, with weights.

    Raises:
        ModelError: No tokenizer or no feature extractor lies beside the weights.
    """
    extractor = load_feature_extractor(files.folder, files.name)
    loaded = ready(files, whole.base_model, "text", device, modalities(whole.base_model))
    longest = [loaded.max_tokens, getattr(files.config, "max_target_positions", None)]
    parts = {
        **vars(loaded), "modality": "audio",
        "sequences": (InputSequence(ENCODER, "audio"), InputSequence(DECODER, "text")),
        "max_tokens": min((limit for limit in longest if limit is not None), default=None),
        "writer": put_on(whole, loaded.device).eval() if can_write else None,
    }  # fmt: skip
    return TranscribingModel(**parts, hears_with=extractor)

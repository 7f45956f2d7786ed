"""A model that is ready to run, with what reads its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from analysis.models.decoding import continue_greedily, read_in_training, write_greedily
from analysis.models.drawing import draw, drawn_layout, draws_patches, kept_patches
from analysis.models.forward import count_image_tokens
from analysis.models.hearing import Hearing, SoundLayout, hear
from analysis.models.layout import ImageLayout, image_layout
from analysis.models.stages import stage_layouts, stage_name
from analysis.models.weights import quiet
from analysis.types import InputSequence


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

"""Encoder-decoders that look for objects in a picture: an encoder over places of it, a decoder over object queries."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from analysis.errors import ModelError, first_line
from analysis.models.forward import forward_module
from analysis.models.layout import ImageLayout
from analysis.models.loaded import LoadedModel
from analysis.models.placing import input_device
from analysis.models.towers import modalities, ready
from analysis.models.weights import ModelFiles
from analysis.types import DECODER, ENCODER, InputSequence


class Places(NamedTuple):
    """What such a model makes of a picture of one size: a grid for the encoder, and queries for the decoder."""

    rows: int
    columns: int
    n_queries: int


@dataclass(frozen=True)
class DetectingModel(LoadedModel):
    """An encoder over the places of a picture and a decoder over object queries, whole."""

    def image_layout(self, height: int, width: int, n_tokens: int) -> ImageLayout:
        """The grid of the encoder's places; each covers so many pixels of the processed picture."""
        rows, columns, _ = self._places(height, width)
        return ImageLayout((), rows, columns, -(-height // rows), -(-width // columns))

    def n_image_tokens(self, height: int, width: int) -> int:
        """Places of the encoder."""
        rows, columns, _ = self._places(height, width)
        return rows * columns

    def n_object_queries(self, height: int, width: int) -> int:
        """Queries of the decoder, which are the same for every picture."""
        return self._places(height, width).n_queries

    def _places(self, height: int, width: int) -> Places:
        if (height, width) not in self._known:
            self._known[height, width] = self._look(height, width)
        return self._known[height, width]

    @cached_property
    def _known(self) -> dict[tuple[int, int], Places]:
        return {}

    def _look(self, height: int, width: int) -> Places:
        """Run the model on a blank picture: its outputs count the tokens, and the last convolution whose places are as
        many tells how they lie."""
        import torch

        grids: list[tuple[int, int]] = []

        def watch(conv: Any, given: tuple, made: Any) -> None:
            grids.append(tuple(made.shape[-2:]))

        convolutions = [part for part in self.module.modules() if isinstance(part, torch.nn.Conv2d)]
        hooks = [part.register_forward_hook(watch) for part in convolutions]
        pixels = torch.zeros(1, 3, height, width, dtype=self.module.dtype, device=input_device(self.module))
        try:
            output = forward_module(self.module, {"pixel_values": pixels})
        except (ValueError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"{self.name} does not take the {width} x {height} pixels that its image processor makes "
                f"({first_line(error, 200)}); correct preprocessor_config.json in its folder."
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        seen, found = getattr(output, "encoder_last_hidden_state", None), getattr(output, "last_hidden_state", None)
        fitting = [grid for grid in grids if seen is not None and grid[0] * grid[1] == seen.shape[1]]
        if found is None or not fitting:
            raise ModelError(f"{self.name} has no encoder over one grid of places and a decoder over object queries.")
        return Places(*fitting[-1], found.shape[1])


def looks_for_objects(model: Any) -> bool:
    """True for an encoder-decoder of pictures alone, whose decoder is given no text."""
    base = model.base_model
    is_pair = getattr(model.config, "is_encoder_decoder", False) and modalities(base) == ("vision",)
    return is_pair and "decoder_input_ids" not in inspect.signature(base.forward).parameters


def load_detecting(files: ModelFiles, whole: Any, device: str | None) -> DetectingModel:
    """Such a model, ready to run, from its weights.

    Raises:
        ModelError: No image processor lies beside them.
    """
    loaded = ready(files, whole.base_model, "vision", device, modalities(whole.base_model))
    sequences = InputSequence(ENCODER, "vision"), InputSequence(DECODER, "vision")
    return DetectingModel(**{**vars(loaded), "sequences": sequences})
